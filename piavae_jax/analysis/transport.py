"""Eq. 4-6: what the KL terms say of how far apart posteriors can be."""

import jax
import jax.numpy as jnp


def transport_bound(first_kl: jax.Array, second_kl: jax.Array, *, constant: float = 1.0) -> jax.Array:
    """`W1(q_u, q_v) <= sqrt(2 C KL_u) + sqrt(2 C KL_v)` (Eq. 4 and 5).

    For N(0, I) the constant is 1, and the same bound holds for W2 (Talagrand 1996), however the model was trained. What
    two posteriors have in common does not enter: each is measured on its own from the prior.

    Args:
      first_kl: float32[B], KL(q_u || p) in nats, such as `priors.gaussian_kl`.
      second_kl: float32[B], KL(q_v || p).
      constant: C of the prior's T1 inequality; sigma^2 for N(0, sigma^2 I).

    Returns:
      float32[B].
    """
    return jnp.sqrt(2 * constant * first_kl) + jnp.sqrt(2 * constant * second_kl)


def mean_transport_bound(kl: jax.Array, *, constant: float = 1.0) -> jax.Array:
    """`2 sqrt(2 C) sqrt(mean KL)` of `kl: float32[B]`, a bound of the mean W1 over pairs of users (Eq. 6)."""
    return 2 * jnp.sqrt(2 * constant * jnp.mean(kl))
