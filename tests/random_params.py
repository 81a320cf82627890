"""Parameters that nothing was compiled for."""

import jax
import jax.numpy as jnp
import numpy as np


def random_params(init, *, scale: float = 1.0, seed: int = 0):
    """Normal numbers of one scale in the shapes that `init(key)` has: no weight is one, and no bias zero."""
    generator = np.random.default_rng(seed)
    shapes = jax.eval_shape(init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(scale * generator.normal(size=leaf.shape), leaf.dtype), shapes)
