"""What the encoder sees of a batch."""

import jax
import jax.numpy as jnp

from piavae_jax import sparse
from piavae_jax.types import Batch, EncoderInput, SparseBatch, SparseInput


def encoder_input(batch: Batch, *, kept: jax.Array | None = None, keep_prob: float | jax.Array = 1.0) -> EncoderInput:
    """Build what the encoder sees: `x_h / (keep_prob * ||x||_2)`.

    The full row is normalised and then masked with inverse scaling (Liang et al. 2018), so a masked row is longer or
    shorter than 1 and right on average.

    Args:
      batch: sparse or dense rows of B users.
      kept: bool[N] or bool[B, I], True where unmasked; None keeps everything, as evaluation does.
      keep_prob: probability with which `kept` was drawn, a scalar or `[B]`.

    Returns:
      `SparseInput` with values float32[N] for sparse rows, float32[B, I] for dense ones. An empty row stays zero.
    """
    scale = 1.0 / (keep_prob * jnp.sqrt(jnp.maximum(sparse.row_lengths(batch), 1.0)))
    if isinstance(batch, SparseBatch):
        visible = sparse.is_interaction(batch) if kept is None else sparse.is_interaction(batch) & kept
        return SparseInput(batch, jnp.where(visible, scale[batch.rows], 0.0))
    weights = batch.astype(jnp.float32) * scale[:, None]
    return weights if kept is None else jnp.where(kept, weights, 0.0)
