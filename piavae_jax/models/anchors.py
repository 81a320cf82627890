"""The learnable item anchors of PIA: parameters of training only."""

import jax


def init_anchors(num_items: int, latent_dim: int, *, std: float = 0.01, key: jax.Array) -> jax.Array:
    """Draw anchors `E ~ N(0, std^2)`, float32[I, D]; the key is consumed. The paper publishes no initialisation."""
    # The barrier keeps XLA from folding std into the draw's own factor: the same bits in a program and outside one.
    return std * jax.lax.optimization_barrier(jax.random.normal(key, (num_items, latent_dim)))
