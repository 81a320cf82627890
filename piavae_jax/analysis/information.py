"""Eq. 7: how much of the KL term is information about the user, and how much a mismatch with the prior."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax import priors, sampling
from piavae_jax.types import Posterior

_BLOCK = 500


class Estimate(NamedTuple):
    """A mean in nats and its standard error."""

    value: float
    standard_error: float


class KLDecomposition(NamedTuple):
    """`mean KL(q(z|x) || p) = I(X; Z) + KL(q(z) || p)` over U rows (Eq. 7)."""

    mean_kl: Estimate
    """In closed form; the error is that of the mean over users."""
    mutual_information: Estimate
    marginal_kl: Estimate
    ceiling: float
    """`log U`: what U equally likely rows can hold of information at most."""


def aggregated_log_density(z: jax.Array, posterior: Posterior) -> jax.Array:
    """`log q(z)` of the aggregated posterior, the even mixture of U posteriors `[U, D]`: float32[B], nats."""
    return priors.mixture_log_density(z, posterior)


def kl_decomposition(posterior: Posterior, *, samples: int = 1, repeats: int = 1, key: jax.Array) -> KLDecomposition:
    """Decompose the mean KL from N(0, I) of U users (Eq. 7), by Monte Carlo.

    The population is these U posteriors, equally likely (for the masked aggregate, several masks of every user):
    `I = mean over u of E_{q_u} [log q_u(z) - log q(z)]` with q their mixture, which is exact, not a sample of it. What
    I would be over more users is another question: it cannot exceed `log U` here, and where it comes near, U rows are
    too few to tell (McAllester & Stratos 2020, https://arxiv.org/abs/1811.04251).

    Args:
      posterior: `[U, D]`.
      samples: S draws from each posterior; O(S U^2 D) time.
      repeats: how often each user is among the U, all users once, then all again; standard errors are over users.
      key: a PRNG key, consumed here.
    """
    posterior = jax.tree.map(jnp.asarray, posterior)
    kl = np.asarray(priors.gaussian_kl(posterior), np.float64)
    information, mismatch = (np.asarray(part, np.float64) for part in _log_ratios(posterior, samples, key))
    of_users = [values.reshape(repeats, -1).mean(axis=0) for values in (kl, information, mismatch)]
    mean_kl, mutual_information, marginal_kl = map(_estimate, of_users)
    return KLDecomposition(mean_kl, mutual_information, marginal_kl, ceiling=math.log(len(posterior.mean)))


@partial(jax.jit, static_argnums=1)
def _log_ratios(posterior: Posterior, samples: int, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """float32[U] each: means over the samples of `log q_u(z) - log q(z)` and of `log q(z) - log p(z)`."""

    def of_sample(sample_key: jax.Array) -> tuple[jax.Array, jax.Array]:
        z = sampling.reparameterize(posterior, key=sample_key)
        own = priors.gaussian_log_density(z, posterior)
        aggregated = _in_blocks(lambda rows: aggregated_log_density(rows, posterior), z)
        return own - aggregated, aggregated - priors.standard_normal_log_density(z)

    ratios = jax.lax.map(of_sample, jax.random.split(key, samples))
    return jnp.mean(ratios[0], axis=0), jnp.mean(ratios[1], axis=0)


def _in_blocks(function: Callable[[jax.Array], jax.Array], rows: jax.Array) -> jax.Array:
    """`function: [B, D] -> [B]` of many rows, `_BLOCK` at a time."""
    count, dim = rows.shape
    size = min(_BLOCK, count)
    padded = jnp.pad(rows, ((0, -count % size), (0, 0))).reshape(-1, size, dim)
    return jax.lax.map(function, padded).reshape(-1)[:count]


def _estimate(values: np.ndarray) -> Estimate:
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Estimate(float(values.mean()), float(error))
