"""Theorem 2.5: what two users lose when one decoder must serve both at the same latent code."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy

from piavae_jax import priors, sampling
from piavae_jax.types import Posterior


class Compromise(NamedTuple):
    """What a pair of users loses by the overlap of their posteriors."""

    gap: jax.Array
    """float32[P], nats: `int (q_u + q_v) Delta_A* dz` of Eq. 3."""
    overlap: jax.Array
    """float32[P], `2 int q_u q_v / (q_u + q_v) dz`: 1 where the posteriors are equal, 0 where they are disjoint."""
    most: jax.Array
    """float32[P], nats: the gap if the posteriors were equal, `2 Delta_A*(1/2)`."""


def compromise_gap(alpha: jax.Array, *, first_only: jax.Array, second_only: jax.Array, shared: jax.Array) -> jax.Array:
    """`Delta_A*(x_u, x_v; alpha)` of the multinomial likelihood, in nats (Theorem 2.5).

    The conjugate of the multinomial's log-partition is the negative entropy. The paper's one A for both users needs
    equal numbers of interactions; for rows of n_u and n_v the same proof, with `n log sum exp` in place of A, gives
    `A*(x) = sum_i x_i log(x_i / sum_j x_j)`, whose Jensen gap this is. On binary rows it depends on counts alone.

    Args:
      alpha: float32[...], `q_u(z) / (q_u(z) + q_v(z))`.
      first_only: float32[...], items of u alone.
      second_only: float32[...], items of v alone.
      shared: float32[...], items of both.

    Returns:
      float32[...], not negative: zero where the rows are equal, or alpha is 0 or 1.
    """
    rest = 1 - alpha
    first, second = first_only + shared, second_only + shared
    mixed = alpha * first + rest * second
    # A* of a binary row is -n log n; that of the mixture has the terms alpha log(alpha / n), and so on.
    at_ends = -alpha * xlogy(first, first) - rest * xlogy(second, second)
    at_mixture = first_only * xlogy(alpha, alpha) + second_only * xlogy(rest, rest) - xlogy(mixed, mixed)
    return jnp.maximum(at_ends - at_mixture, 0.0)


def compromise(
    first: Posterior,
    second: Posterior,
    *,
    first_only: jax.Array,
    second_only: jax.Array,
    shared: jax.Array,
    samples: int,
    key: jax.Array,
) -> Compromise:
    """The compromise gap of pairs of users (Eq. 3), its integral by Monte Carlo over z from both posteriors.

    Args:
      first: q_u of P pairs, `[P, D]`.
      second: q_v.
      first_only: float32[P], items of u alone.
      second_only: float32[P], items of v alone.
      shared: float32[P], items of both.
      samples: S draws from each posterior.
      key: a PRNG key, consumed here.
    """
    gap_at = partial(compromise_gap, first_only=first_only, second_only=second_only, shared=shared)

    def of_sample(sample_key: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = jax.random.split(sample_key)
        at_first = _share_of_first(sampling.reparameterize(first, key=keys[0]), first, second)
        at_second = _share_of_first(sampling.reparameterize(second, key=keys[1]), first, second)
        return gap_at(at_first) + gap_at(at_second), (1 - at_first) + at_second

    gaps, overlaps = jax.lax.map(of_sample, jax.random.split(key, samples))
    most = 2 * gap_at(jnp.full_like(shared, 0.5))
    return Compromise(jnp.mean(gaps, axis=0), jnp.mean(overlaps, axis=0), most)


def _share_of_first(z: jax.Array, first: Posterior, second: Posterior) -> jax.Array:
    """`alpha(z)`, float32[P]."""
    return jax.nn.sigmoid(priors.gaussian_log_density(z, first) - priors.gaussian_log_density(z, second))
