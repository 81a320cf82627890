"""Masks that hide popular items more often than rare ones, or less."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy  # scipy.optimize, most of a second to load, loads at its first use
from numpy.typing import ArrayLike

from piavae_jax import sampling
from piavae_jax.errors import UserError
from piavae_jax.masking.inputs import encoder_input
from piavae_jax.types import Batch, EncoderInput, SparseBatch, SparseInput


def popularity_keep_probs(counts: ArrayLike, *, keep_prob: float, power: float) -> jax.Array:
    """Each item's keep probability, `min(1, c * count^-power)`, with c such that the data's mean is `keep_prob`.

    The mean is over interactions: each item weighs as often as it occurs. For the host, once, before training.

    Args:
      counts: [I], interactions of each item in the training data; an item without any is treated as one with one.
      keep_prob: probability that an interaction of the data stays, in (0, 1].
      power: above 0 popular items stay less often, below 0 more often; 0 gives all the same.

    Returns:
      float32[I], in (0, 1].

    Raises:
      UserError: an argument is out of range.
    """
    counts = np.asarray(counts, np.float64)
    chex.assert_rank(counts, 1)
    if not 0 < keep_prob <= 1:
        raise UserError(f"keep_prob must be in (0, 1], got {keep_prob}; 1 keeps every interaction")
    if not np.isfinite(power):
        raise UserError(f"power must be a finite number, got {power}; 0.5 is the square root of popularity")
    if not (np.isfinite(counts).all() and counts.min(initial=0) >= 0 and counts.sum() > 0):
        raise UserError(f"counts must be numbers >= 0 with a sum above 0, got {counts}; count the training rows' items")
    log_weights = -power * np.log(np.maximum(counts, 1))

    def log_probs(log_c: float) -> np.ndarray:
        return np.minimum(log_c + log_weights, 0.0)

    def excess(log_c: float) -> float:
        return np.average(np.exp(log_probs(log_c)), weights=counts) - keep_prob

    # At the lower end all items are below keep_prob, at the upper end all are at 1.
    log_c = scipy.optimize.brentq(excess, np.log(keep_prob) - log_weights.max() - 1, -log_weights.min())
    return jnp.asarray(np.maximum(np.exp(log_probs(log_c)), np.finfo(np.float32).tiny), jnp.float32)


def popularity_mask(batch: Batch, *, keep_probs: jax.Array, key: jax.Array) -> jax.Array:
    """Draw `b ~ Bernoulli(keep_probs[item])` for each positive.

    Args:
      batch: sparse or dense rows of B users.
      keep_probs: float32[I], such as `popularity_keep_probs` gives.
      key: a PRNG key, consumed here.

    Returns:
      bool[N] for sparse rows, bool[B, I] for dense ones, True where kept.
    """
    return sampling.interaction_uniforms(batch, key=key) < _at_interactions(keep_probs, batch)


def _at_interactions(of_item: jax.Array, batch: Batch) -> jax.Array:
    chex.assert_rank(of_item, 1)
    return of_item[batch.items] if isinstance(batch, SparseBatch) else of_item[None, :]


def popularity_aware(batch: Batch, *, keep_probs: jax.Array, key: jax.Array) -> EncoderInput:
    """Mask a batch with `popularity_mask` and return the encoder's input; same arguments.

    What stays is scaled by the inverse of its **own** item's probability, not of the mean: only so has every item the
    same weight on average as in the unmasked row that evaluation shows. Small probabilities therefore give large,
    rare values, `1 / p` times the unmasked one: prefer a small power to an extreme one.
    """
    kept = popularity_mask(batch, keep_probs=keep_probs, key=key)
    probs = _at_interactions(keep_probs, batch)
    inverse = jnp.where(probs > 0, 1.0 / probs, 0.0)  # an item of probability 0 never stays
    unscaled = encoder_input(batch, kept=kept)
    if isinstance(unscaled, SparseInput):
        return unscaled._replace(values=unscaled.values * inverse)
    return unscaled * inverse
