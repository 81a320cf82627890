"""Ranked lists from scores: seen items out, the best K items of each row, and which of them were held out."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from piavae_jax.types import SparseBatch

NO_ITEM = -1
"""Fills a ranked list where no further item may be recommended."""


class RankedItems(NamedTuple):
    """The best items of each row, best first."""

    items: jax.Array
    """int32[B, K]; `NO_ITEM` past the last item whose score is not -inf."""
    scores: jax.Array
    """float[B, K], non-increasing."""


def exclude_seen(scores: jax.Array, batch: SparseBatch) -> jax.Array:
    """Set the score of every item that is in its user's row to -inf, which keeps it out of ranked lists.

    Args:
      scores: float[B, I].
      batch: the rows shown to the model, N slots.

    Returns:
      float[B, I].
    """
    chex.assert_rank(scores, 2)
    chex.assert_shape(batch.lengths, (scores.shape[0],))
    return scores.at[batch.rows, batch.items].set(-jnp.inf, mode="drop")


def top_k(scores: jax.Array, k: int) -> RankedItems:
    """Rank the K = min(k, I) best items of each row, exactly; of two equal scores the lower item comes first.

    Args:
      scores: float[B, I], -inf for an item that must not be recommended.
      k: length of the lists, at least 1.
    """
    chex.assert_rank(scores, 2)
    # Fastest exact choice on a CPU at [500, 20108], k = 100, in ms: lax.top_k 38, approx_max_k at recall 1 the same,
    # block maxima first 67-78, counting the items above each held-out one 167-352.
    best, items = jax.lax.top_k(scores, min(k, scores.shape[1]))
    return RankedItems(jnp.where(best > -jnp.inf, items, NO_ITEM), best)


def find_hits(ranked: jax.Array, targets: SparseBatch) -> jax.Array:
    """Tell which entries of ranked lists are held-out items of their row, in O(N K).

    Args:
      ranked: int32[B, K], items without repeats, best first; `NO_ITEM` where the list has ended.
      targets: held-out rows, N slots.

    Returns:
      bool[B, K].
    """
    chex.assert_rank(ranked, 2)
    chex.assert_shape(targets.lengths, (ranked.shape[0],))
    found = ranked.at[targets.rows].get(mode="clip") == targets.items[:, None]
    position = jnp.where(found.any(axis=-1), jnp.argmax(found, axis=-1), ranked.shape[1])
    return jnp.zeros(ranked.shape, bool).at[targets.rows, position].set(True, mode="drop")
