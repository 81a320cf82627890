"""Ranked lists from scores that are split along items over devices, inside `jax.shard_map`.

Each device ranks its own L items; only the K best of each travel. Lists are those of `ranking` on whole scores.
"""

import jax
import jax.numpy as jnp

from piavae_jax import item_parallel
from piavae_jax.evaluation.ranking import NO_ITEM, RankedItems, top_k
from piavae_jax.types import SparseBatch


def exclude_seen_or_padding(scores: jax.Array, batch: SparseBatch, *, num_items: int, item_axis: str) -> jax.Array:
    """Lower the scores of items in their user's row, and of those that only pad the last shards, to -inf.

    Args:
      scores: float[B, L], this device's shard.
      batch: the rows shown to the model, N slots, with items of the whole vocabulary.
      num_items: I.
      item_axis: the mesh axis that items are split over.

    Returns:
      float[B, L].
    """
    size = scores.shape[1]
    own = item_parallel.own_items(batch.items, size, item_axis)
    unseen = scores.at[batch.rows, jnp.where(own.here, own.positions, size)].add(-jnp.inf, mode="drop")
    padding = item_parallel.mask_padding(jnp.zeros(size, scores.dtype), num_items, item_axis)
    return unseen + padding[None, :]


def top_k_over_shards(scores: jax.Array, k: int, *, num_items: int, item_axis: str) -> RankedItems:
    """Rank the K = min(k, I) best items of each row over all shards; of two equal scores the lower item comes first.

    Args:
      scores: float[B, L], this device's shard, -inf for an item that must not be recommended.
      k: length of the lists, at least 1.
      num_items: I.
      item_axis: the mesh axis that items are split over.

    Returns:
      The same lists on all devices of the axis.
    """
    own = top_k(scores, k)
    items = own.items + item_parallel.first_item(scores.shape[1], item_axis)
    candidates = jax.lax.all_gather(own.scores, item_axis, axis=1, tiled=True)
    # By shard, and by rank within: of equal scores the lower item stands first, which the sort keeps.
    best, places = jax.lax.top_k(candidates, min(k, num_items))
    all_items = jax.lax.all_gather(items, item_axis, axis=1, tiled=True)
    ranked = jnp.take_along_axis(all_items, places, axis=1)
    return RankedItems(jnp.where(best > -jnp.inf, ranked, NO_ITEM), best)
