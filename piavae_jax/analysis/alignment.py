"""Proposition 3.1: what the alignment loss is made of, on a trained model, and anchors for encoders without any."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from piavae_jax import losses, sparse
from piavae_jax.types import Batch, Posterior, SparseBatch


class AlignmentTerms(NamedTuple):
    """The three terms of Eq. 10; their sum is `losses.anchor_loss`."""

    drift: jax.Array
    """float32[B], `||mu - ebar||^2`."""
    variance: jax.Array
    """float32[B], `tr Sigma`."""
    spread: jax.Array
    """float32[B], `(1/n) sum_i ||e_i||^2 - ||ebar||^2`, of the user's anchors about their centroid."""


def alignment_terms(posterior: Posterior, anchors: jax.Array, batch: Batch) -> AlignmentTerms:
    """Split the alignment loss as Proposition 3.1 does.

    Args:
      posterior: q(z | x_h), `[B, D]`.
      anchors: float32[I, D].
      batch: the full rows of B users with an item at least.
    """
    centroid = losses.anchor_centroid(anchors, batch)
    mean_norm = sparse.row_mean(jnp.sum(jnp.square(anchors), axis=-1), batch)
    return AlignmentTerms(
        drift=jnp.sum(jnp.square(posterior.mean - centroid), axis=-1),
        variance=jnp.sum(jnp.exp(posterior.logvar), axis=-1),
        spread=mean_norm - jnp.sum(jnp.square(centroid), axis=-1),
    )


def fitted_anchors(mean: jax.Array, batch: SparseBatch, *, num_items: int) -> jax.Array:
    """The anchors that minimise the mean alignment loss of a frozen encoder: what PIA's would converge to.

    `e_i = sum_{u with i} mu_u / n_u  over  sum_{u with i} 1 / n_u`, where the gradient of Eq. 9 vanishes. So the drift
    from the centroid can be measured in a model that was trained without anchors.

    Args:
      mean: float32[B, D], the posterior means.
      batch: the full rows of the B users.
      num_items: I.

    Returns:
      float32[I, D]; zero for an item that no row holds.
    """
    weights = jnp.where(sparse.is_interaction(batch), 1.0 / jnp.maximum(sparse.row_lengths(batch), 1.0)[batch.rows], 0)
    total = sparse.weighted_item_sum(mean, weights, batch, num_items=num_items)
    mass = jnp.zeros(num_items, mean.dtype).at[batch.items].add(weights)
    return total / jnp.maximum(mass, jnp.finfo(mean.dtype).tiny)[:, None]
