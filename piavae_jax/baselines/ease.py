"""EASE: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, https://arxiv.org/abs/1905.03375."""

from functools import partial

import numpy as np

from piavae_jax.baselines.baseline import Baseline
from piavae_jax.baselines.checks import check_positive
from piavae_jax.baselines.full_rank import full_rank_scores, zero_diagonal_regression
from piavae_jax.baselines.rows import gram_matrix


def ease(*, regularization: float = 500.0) -> Baseline:
    """Build EASE: every item regressed on all others, in closed form.

    Its parameters are `weights`, float32[I, I]. Fitting takes O(I^3) time and the memory of one such matrix.

    Args:
      regularization: lambda, of the squared weights.

    Raises:
      UserError: it is not positive.
    """
    check_positive("regularization", regularization, example=500)
    return Baseline(gram_matrix, partial(_solve, regularization=regularization), full_rank_scores)


def _solve(gram: np.ndarray, *, regularization: float) -> dict[str, np.ndarray]:
    return zero_diagonal_regression(gram, np.full(len(gram), regularization, np.float32))
