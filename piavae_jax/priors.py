"""Divergence of the posterior from a prior."""

import chex
import jax
import jax.numpy as jnp

from piavae_jax.types import Posterior


def gaussian_kl(posterior: Posterior) -> jax.Array:
    """KL(q(z | x_h) || N(0, I)) in nats, in closed form: `0.5 * sum(exp(logvar) + mu^2 - 1 - logvar)`.

    Args:
      posterior: `[B, D]` means and log variances.

    Returns:
      float32[B], not negative.
    """
    chex.assert_rank(posterior, 2)
    mean, logvar = posterior
    # expm1 keeps exp(logvar) - 1 - logvar exact where logvar is near zero.
    return 0.5 * jnp.sum(jnp.expm1(logvar) - logvar + jnp.square(mean), axis=-1)
