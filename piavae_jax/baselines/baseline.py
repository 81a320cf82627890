"""What every baseline is: a fit on training rows, and a scorer of users that it need not have seen."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax

from piavae_jax.data.csr import CSR
from piavae_jax.errors import UserError
from piavae_jax.evaluation import RankedItems, ScoreFn, exclude_seen, top_k
from piavae_jax.types import SparseBatch


class Baseline(NamedTuple):
    """A recommender that is fitted in two steps, so that a search over its settings does the first of them once."""

    summarize: Callable[[CSR, int], Any]
    """`summarize(train, num_items)`: what the settings have no part in, a tree of NumPy arrays."""
    solve: Callable[[Any], Any]
    """`solve(summary) -> params`, a tree of float32 arrays; it may overwrite the summary."""
    score: ScoreFn
    """`score(params, batch) -> float32[B, I]`; the same function whatever the settings."""

    def fit(self, train: CSR, num_items: int) -> Any:
        """Fit the parameters.

        Args:
          train: rows of the training users.
          num_items: I.

        Raises:
          UserError: there is no interaction, or one with an item that is not below `num_items`.
        """
        check_rows(train, num_items)
        return self.solve(self.summarize(train, num_items))


def check_rows(train: CSR, num_items: int) -> None:
    """Refuse rows that nothing can be fitted to; raises UserError."""
    if train.nnz == 0:
        raise UserError("train must hold at least one interaction, got none; pass the training rows of a data set")
    if train.indices.max() >= num_items:
        raise UserError(
            f"items must be below num_items, got item {train.indices.max()} with num_items {num_items}; "
            "pass the I of the data"
        )


@partial(jax.jit, static_argnames=("score", "k"))
def recommend(score: ScoreFn, params: Any, batch: SparseBatch, *, k: int) -> RankedItems:
    """Rank the K = min(k, I) best items for each user, those in the user's row left out.

    Args:
      score: of a baseline, or any other; compiled once for each.
      params: its first argument; put them on the device if they are used more than once.
      batch: B users.
      k: length of the lists.

    Raises:
      UserError: `k` is below 1.
    """
    if k < 1:
        raise UserError(f"k must be at least 1 item, got {k}; pass e.g. 20")
    return top_k(exclude_seen(score(params, batch), batch), k)
