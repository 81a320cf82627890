"""Random masks on the positives of a batch, and the input that the encoder makes of them (Eq. 1-2)."""

import jax
import jax.numpy as jnp

from piavae_jax import sampling, sparse
from piavae_jax.errors import UserError
from piavae_jax.types import Batch, EncoderInput, SparseBatch, SparseInput


def bernoulli_mask(batch: Batch, *, keep_prob: float | jax.Array, key: jax.Array) -> jax.Array:
    """Draw `b ~ Bernoulli(keep_prob)` for each positive.

    Masking a zero changes nothing, so only positives draw: the distribution of `x * b` is that of a full mask.

    Args:
      batch: sparse or dense rows of B users.
      keep_prob: probability that an interaction stays, in (0, 1]; the paper's rho.
      key: a PRNG key, consumed here.

    Returns:
      bool[N] for sparse rows, bool[B, I] for dense ones, True where kept; equal for the same key and users.

    Raises:
      UserError: `keep_prob` is a Python number outside (0, 1].
    """
    if isinstance(keep_prob, int | float) and not 0 < keep_prob <= 1:
        raise UserError(f"keep_prob must be in (0, 1], got {keep_prob}; 1 keeps every interaction")
    return sampling.interaction_uniforms(batch, key=key) < keep_prob


def encoder_input(batch: Batch, *, kept: jax.Array | None = None, keep_prob: float | jax.Array = 1.0) -> EncoderInput:
    """Build what the encoder sees: `x_h / (keep_prob * ||x||_2)`.

    The full row is normalised and then masked with inverse scaling (Liang et al. 2018), so a masked row is longer or
    shorter than 1 and right on average.

    Args:
      batch: sparse or dense rows of B users.
      kept: bool[N] or bool[B, I], True where unmasked; None keeps everything, as evaluation does.
      keep_prob: probability with which `kept` was drawn.

    Returns:
      `SparseInput` with values float32[N] for sparse rows, float32[B, I] for dense ones. An empty row stays zero.
    """
    scale = 1.0 / (keep_prob * jnp.sqrt(jnp.maximum(sparse.row_lengths(batch), 1.0)))
    if isinstance(batch, SparseBatch):
        visible = sparse.is_interaction(batch) if kept is None else sparse.is_interaction(batch) & kept
        return SparseInput(batch, jnp.where(visible, scale[batch.rows], 0.0))
    weights = batch.astype(jnp.float32) * scale[:, None]
    return weights if kept is None else jnp.where(kept, weights, 0.0)


def bernoulli(batch: Batch, *, keep_prob: float | jax.Array, key: jax.Array) -> EncoderInput:
    """Mask a batch with `bernoulli_mask` and return the encoder's input; same arguments and errors."""
    return encoder_input(batch, kept=bernoulli_mask(batch, keep_prob=keep_prob, key=key), keep_prob=keep_prob)
