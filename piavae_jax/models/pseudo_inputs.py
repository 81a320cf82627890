"""Learned pseudo-inputs, whose posteriors a VampPrior mixes (Tomczak & Welling 2018, "VAE with a VampPrior")."""

import jax
import jax.numpy as jnp

from piavae_jax.types import EncoderInput


def init_pseudo_inputs(
    num_items: int, *, count: int, mean: float = 0.05, std: float = 0.01, key: jax.Array
) -> jax.Array:
    """Draw P = `count` rows from N(mean, std^2), float32[P, I]; the key is consumed. Defaults of Kim & Suh (2019)."""
    return mean + std * jax.random.normal(key, (count, num_items))


def pseudo_rows(pseudo_inputs: jax.Array) -> EncoderInput:
    """What an encoder sees of `pseudo_inputs: [P, I]`: each entry clipped to [0, 1], as Kim & Suh (2019) have it.

    Dense rows, not normalised and not masked. `model.encode(params, pseudo_rows(pseudo_inputs))` are the P components
    of any model's prior; an entry outside [0, 1] has no gradient.
    """
    return jnp.clip(pseudo_inputs, 0.0, 1.0)
