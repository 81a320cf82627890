"""Recommend what most users have: the baseline that every model has to beat."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax.baselines.baseline import Baseline
from piavae_jax.data.csr import item_counts
from piavae_jax.types import SparseBatch


def popularity() -> Baseline:
    """Build the baseline of `popularity_scores`; its parameters are the counts, float32[I]."""
    return Baseline(item_counts, _as_float, popularity_scores)


def popularity_scores(item_counts: jax.Array, batch: SparseBatch) -> jax.Array:
    """Score every item by the number of training users who have it, the same for all users.

    A `ScoreFn` whose parameters are the counts (`data.csr.item_counts` of the training rows); of two equally popular
    items the lower one ranks first.

    Args:
      item_counts: [I], whole numbers below 2^24, which float32 holds exactly.
      batch: B users.

    Returns:
      float32[B, I].
    """
    chex.assert_rank(item_counts, 1)
    return jnp.broadcast_to(jnp.asarray(item_counts, jnp.float32), (batch.lengths.shape[0], item_counts.shape[0]))


def _as_float(counts: np.ndarray) -> np.ndarray:
    return counts.astype(np.float32)
