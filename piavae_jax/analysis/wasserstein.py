"""Distances between users' diagonal Gaussian posteriors: W2 in closed form, and what is known of W1."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax import losses, sampling
from piavae_jax.errors import UserError
from piavae_jax.types import Posterior


class W1Bounds(NamedTuple):
    """Between what W1, which has no closed form in more than one dimension, must lie."""

    lower: jax.Array
    """float32[B], the distance of the means: no coupling moves a mean by less."""
    upper: jax.Array
    """float32[B], W2."""


def w2(first: Posterior, second: Posterior) -> jax.Array:
    """The 2-Wasserstein distance of two Gaussians with diagonal covariances (Eq. 15).

    `sqrt(||mu_u - mu_v||^2 + ||sigma_u - sigma_v||^2)`.

    Args:
      first: B posteriors, `[B, D]`.
      second: B others.

    Returns:
      float32[B].
    """
    return jnp.sqrt(losses.consistency_loss(first, second))


def w1_bounds(first: Posterior, second: Posterior) -> W1Bounds:
    """`||mu_u - mu_v|| <= W1 <= W2`; same arguments as `w2`. Both meet where the variances are equal."""
    return W1Bounds(jnp.linalg.norm(first.mean - second.mean, axis=-1), w2(first, second))


def w2_points(posterior: Posterior) -> jax.Array:
    """`(mu, sigma)`, float32[B, 2D]: points whose Euclidean distances are the W2 distances (Eq. 16)."""
    return jnp.concatenate([posterior.mean, jnp.exp(0.5 * posterior.logvar)], axis=-1)


def coupled_w1(first: Posterior, second: Posterior, *, samples: int, key: jax.Array) -> jax.Array:
    """An upper bound of W1 below W2: the mean distance under the coupling that W2 is optimal for.

    `E ||mu_u - mu_v + (sigma_u - sigma_v) eps||`, one eps for both, by Monte Carlo.

    Args:
      first: B posteriors, `[B, D]`.
      second: B others.
      samples: S draws of eps.
      key: a PRNG key, consumed here.

    Returns:
      float32[B].
    """
    between_means = first.mean - second.mean
    between_sigmas = jnp.exp(0.5 * first.logvar) - jnp.exp(0.5 * second.logvar)

    def distance(sample_key: jax.Array) -> jax.Array:
        noise = jax.random.normal(sample_key, between_means.shape)
        return jnp.linalg.norm(between_means + between_sigmas * noise, axis=-1)

    return jnp.mean(jax.lax.map(distance, jax.random.split(key, samples)), axis=0)


def sampled_w1(first: Posterior, second: Posterior, *, samples: int, key: jax.Array) -> np.ndarray:
    """W1 between samples of two posteriors, by linear programming with POT: a check on the bounds.

    The distance between two finite samples of one distribution is not 0: in D dimensions it falls like `S^(-1/D)` only,
    so this lies well above W1 for more than a few dimensions.

    Args:
      first: B posteriors, `[B, D]`.
      second: B others.
      samples: S points of each; O(S^3) time at worst.
      key: a PRNG key, consumed here.

    Returns:
      float64[B].

    Raises:
      UserError: POT is not installed.
    """
    try:
        import ot
    except ImportError as error:
        raise UserError(
            "sampled_w1 needs the package POT; install it with: pip install 'piavae-jax[transport]'"
        ) from error
    keys = jax.random.split(key)
    clouds = [_draws(*pair, samples=samples) for pair in zip((first, second), keys, strict=True)]
    distances = (ot.dist(one, other, metric="euclidean") for one, other in zip(*clouds, strict=True))
    return np.array([ot.emd2([], [], costs) for costs in distances])


def _draws(posterior: Posterior, key: jax.Array, *, samples: int) -> np.ndarray:
    """float64[B, S, D]."""
    keys = jax.random.split(key, samples)
    drawn = jax.vmap(lambda sample_key: sampling.reparameterize(posterior, key=sample_key), out_axes=1)(keys)
    return np.asarray(drawn, np.float64)
