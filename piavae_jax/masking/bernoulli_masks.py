"""The mask of Multi-VAE: every interaction stays or goes on its own."""

import jax
import jax.numpy as jnp

from piavae_jax import sampling
from piavae_jax.errors import UserError
from piavae_jax.masking.inputs import encoder_input
from piavae_jax.types import Batch, EncoderInput, SparseBatch


def bernoulli_mask(batch: Batch, *, keep_prob: float | jax.Array, key: jax.Array) -> jax.Array:
    """Draw `b ~ Bernoulli(keep_prob)` for each positive.

    Masking a zero changes nothing, so only positives draw: the distribution of `x * b` is that of a full mask.

    Args:
      batch: sparse or dense rows of B users.
      keep_prob: probability that an interaction stays, in (0, 1], a scalar or `[B]`; the paper's rho.
      key: a PRNG key, consumed here.

    Returns:
      bool[N] for sparse rows, bool[B, I] for dense ones, True where kept; equal for the same key and users.

    Raises:
      UserError: `keep_prob` is a Python number outside (0, 1].
    """
    if isinstance(keep_prob, int | float) and not 0 < keep_prob <= 1:
        raise UserError(f"keep_prob must be in (0, 1], got {keep_prob}; 1 keeps every interaction")
    return sampling.interaction_uniforms(batch, key=key) < _at_interactions(keep_prob, batch)


def _at_interactions(keep_prob: float | jax.Array, batch: Batch) -> float | jax.Array:
    if jnp.ndim(keep_prob) == 0:
        return keep_prob
    of_user = jnp.asarray(keep_prob)
    return of_user.at[batch.rows].get(mode="clip") if isinstance(batch, SparseBatch) else of_user[:, None]


def bernoulli(batch: Batch, *, keep_prob: float | jax.Array, key: jax.Array) -> EncoderInput:
    """Mask a batch with `bernoulli_mask` and return the encoder's input; same arguments and errors."""
    return encoder_input(batch, kept=bernoulli_mask(batch, keep_prob=keep_prob, key=key), keep_prob=keep_prob)
