"""Random posteriors for tests."""

import jax.numpy as jnp
import numpy as np

from piavae_jax.types import Posterior


def random_posterior(count, dim, *, seed=0, scale=1.0):
    generator = np.random.default_rng(seed)
    mean = scale * generator.standard_normal((count, dim), np.float32)
    return Posterior(jnp.asarray(mean), jnp.asarray(generator.uniform(-1.5, 0.5, (count, dim)), jnp.float32))
