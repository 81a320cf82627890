"""Masks whose strength differs between users."""

import jax

from piavae_jax import sampling, sparse
from piavae_jax.errors import UserError
from piavae_jax.masking.bernoulli_masks import bernoulli
from piavae_jax.types import Batch, EncoderInput


def user_keep_probs(batch: Batch, *, low: float, high: float, key: jax.Array) -> jax.Array:
    """Draw each user's keep probability evenly from [low, high).

    Args:
      batch: sparse or dense rows of B users.
      low: the smallest probability, above 0.
      high: the largest, at most 1.
      key: a PRNG key, consumed here.

    Returns:
      float32[B], addressed by user as all draws are.

    Raises:
      UserError: not `0 < low <= high <= 1`.
    """
    if not 0 < low <= high <= 1:
        raise UserError(
            f"low and high must satisfy 0 < low <= high <= 1, got {low} and {high}; two equal ones mask all users alike"
        )
    return low + (high - low) * sampling.user_uniforms(sparse.row_users(batch), key=key)


def per_user(batch: Batch, *, low: float, high: float, key: jax.Array) -> EncoderInput:
    """Mask each user with a keep probability of the user's own, from `user_keep_probs`; same arguments and errors.

    The model learns from light and from heavy masks alike, and each input is scaled by its user's probability.
    """
    prob_key, mask_key = jax.random.split(key)
    return bernoulli(batch, keep_prob=user_keep_probs(batch, low=low, high=high, key=prob_key), key=mask_key)
