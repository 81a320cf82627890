"""EDLAE: Steck, "Autoencoders that don't overfit towards the identity", NeurIPS 2020."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from piavae_jax.baselines.baseline import Baseline
from piavae_jax.baselines.checks import check_not_negative
from piavae_jax.baselines.full_rank import full_rank_scores, zero_diagonal_regression
from piavae_jax.baselines.rows import gram_matrix, inverse_activity
from piavae_jax.data.checks import check_fraction
from piavae_jax.data.csr import CSR
from piavae_jax.errors import UserError


def edlae(*, dropout: float = 0.33, regularization: float = 300.0, activity_exponent: float = 0.0) -> Baseline:
    """Build the full-rank EDLAE: a linear denoising autoencoder whose loss counts the dropped entries alone.

    Averaged over all ways to drop entries with probability p, the loss of the weights `B / (1 - p)` is that of EASE
    with the penalty `Lambda_j = p / (1 - p) G_jj + lambda`: popular items are penalised more. B is what a full row,
    nothing dropped, is multiplied with. Its parameters are `weights`, float32[I, I]; time and memory are those of EASE.

    In the loss as published a user counts as much as there are pairs of items in the row, so that a few very active
    users decide. An `activity_exponent` a weighs each user by `n^-a`, over the mean of that.

    Args:
      dropout: p, in [0, 1).
      regularization: lambda, of the squared weights; with dropout it may be zero if every item has a training user.
      activity_exponent: a, at least 0; 0 is the published model.

    Raises:
      UserError: an argument is not as above, or neither gives a penalty.
    """
    check_fraction("dropout", dropout)
    check_not_negative("regularization", regularization, example=300)
    if dropout == 0 and regularization == 0:
        raise UserError("dropout and regularization must not both be 0, got 0 and 0; pass e.g. dropout=0.33")
    check_not_negative("activity_exponent", activity_exponent, example=0.5)
    solve = partial(_solve, dropout=dropout, regularization=regularization)
    return Baseline(_make_summarize(activity_exponent), solve, full_rank_scores)


@cache  # models that differ in nothing else share a summary, which is known by the function that makes it
def _make_summarize(activity_exponent: float) -> Callable[[CSR, int], np.ndarray]:
    if activity_exponent == 0:
        return gram_matrix

    def summarize(train: CSR, num_items: int) -> np.ndarray:
        return gram_matrix(train, num_items, user_weights=inverse_activity(train, activity_exponent))

    return summarize


def _solve(gram: np.ndarray, *, dropout: float, regularization: float) -> dict[str, np.ndarray]:
    return zero_diagonal_regression(gram, dropout / (1 - dropout) * gram.diagonal() + regularization)
