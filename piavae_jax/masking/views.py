"""Two views of every user that share no interaction."""

import jax
import jax.numpy as jnp

from piavae_jax.errors import UserError
from piavae_jax.masking.bernoulli_masks import bernoulli_mask
from piavae_jax.masking.inputs import encoder_input
from piavae_jax.types import Batch, EncoderInput


def complementary_masks(batch: Batch, *, keep_prob: float | jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draw a mask and its complement: each positive goes to one of two views.

    Args:
      batch: sparse or dense rows of B users.
      keep_prob: probability that an interaction goes to the first view, in (0, 1), a scalar or `[B]`.
      key: a PRNG key, consumed here.

    Returns:
      `bernoulli_mask` of the same arguments and its negation, each bool[N] for sparse rows, bool[B, I] for dense ones.

    Raises:
      UserError: `keep_prob` is a Python number outside (0, 1).
    """
    if isinstance(keep_prob, int | float) and not 0 < keep_prob < 1:
        raise UserError(f"keep_prob must be in (0, 1), got {keep_prob}; 0.5 shares interactions evenly")
    kept = bernoulli_mask(batch, keep_prob=keep_prob, key=key)
    return kept, jnp.logical_not(kept)


def complementary(batch: Batch, *, keep_prob: float | jax.Array, key: jax.Array) -> tuple[EncoderInput, EncoderInput]:
    """Split a batch with `complementary_masks` and return both views as encoder inputs; same arguments and errors.

    Each is scaled by the inverse of its own probability, and so is the unmasked row on average.
    """
    kept, dropped = complementary_masks(batch, keep_prob=keep_prob, key=key)
    first = encoder_input(batch, kept=kept, keep_prob=keep_prob)
    return first, encoder_input(batch, kept=dropped, keep_prob=1.0 - keep_prob)
