"""Priors of the latent space: their log densities, and the posterior's divergence from them.

A prior is a function `z: [B, D] -> log p(z): [B]` here. Whatever it is, `sampled_kl` estimates the divergence from it;
from N(0, I) `gaussian_kl` has it in closed form.
"""

import math
from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp

from piavae_jax.errors import UserError
from piavae_jax.linear import product
from piavae_jax.types import Posterior

_LOG_2PI = math.log(2 * math.pi)


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


def gaussian_log_density(z: jax.Array, posterior: Posterior) -> jax.Array:
    """`log N(z; mu, diag(sigma^2))` in nats: each user's z under the user's own Gaussian.

    Args:
      z: float32[B, D].
      posterior: `[B, D]` means and log variances.

    Returns:
      float32[B].
    """
    return jnp.sum(_coordinate_log_densities(z, posterior), axis=-1)


def _coordinate_log_densities(z: jax.Array, posterior: Posterior) -> jax.Array:
    mean, logvar = posterior
    chex.assert_rank(z, 2)
    chex.assert_equal_shape([z, mean, logvar])
    standardized = (z - mean) * jnp.exp(-0.5 * logvar)
    return -0.5 * (_LOG_2PI + logvar + jnp.square(standardized))


def standard_normal_log_density(z: jax.Array) -> jax.Array:
    """`log N(z; 0, I)` in nats of `z: float32[B, D]`, giving float32[B]."""
    chex.assert_rank(z, 2)
    return -0.5 * jnp.sum(_LOG_2PI + jnp.square(z), axis=-1)


def sampled_kl(posterior: Posterior, z: jax.Array, log_prior: jax.Array) -> jax.Array:
    """KL(q(z | x_h) || p) by Monte Carlo with one sample: `log q(z | x_h) - log p(z)`, in nats.

    For priors without a closed form, as in `sampled_kl(posterior, z, composite_log_density(z, previous))`. Right on
    average, and so is its gradient, which flows through z and through the posterior's density; one sample may be
    negative.

    Args:
      posterior: q(z | x_h), `[B, D]`.
      z: float32[B, D], the reparameterised sample that is decoded.
      log_prior: float32[B], log p(z).

    Returns:
      float32[B].
    """
    log_posterior = gaussian_log_density(z, posterior)
    chex.assert_equal_shape([log_posterior, log_prior])
    return log_posterior - log_prior


def composite_log_density(
    z: jax.Array,
    previous: Posterior,
    *,
    weights: Sequence[float] = (3 / 20, 3 / 4, 1 / 10),
    wide_logvar: float = 10.0,
) -> jax.Array:
    """The composite prior of RecVAE (Shenbin et al. 2020, https://arxiv.org/abs/1912.11160), in nats.

    A mixture of N(0, I), of what the encoder thought of the user at the last prior update, and of a wide Gaussian, in
    each coordinate of its own: the log densities of D mixtures are added. The paper writes one mixture of densities of
    the whole z; the authors' code, and so their numbers, are of the former.

    Args:
      z: float32[B, D].
      previous: the frozen encoder's posterior of the unmasked rows, `[B, D]`; its parameters are for the caller to keep
        out of what is differentiated.
      weights: of the three components, in this order.
      wide_logvar: log variance of the third, `N(0, e^wide_logvar I)`.

    Returns:
      float32[B].

    Raises:
      UserError: there are not three weights, or they are no probabilities that add up to 1.
    """
    if len(weights) != 3 or min(weights) < 0 or not math.isclose(sum(weights), 1.0, abs_tol=1e-6):
        raise UserError(
            f"weights must be three numbers >= 0 that add up to 1, got {weights}; RecVAE's are .15, .75, .1"
        )
    zero = jnp.zeros_like(z)
    components = Posterior(zero, zero), previous, Posterior(zero, jnp.full_like(z, wide_logvar))
    densities = jnp.stack([_coordinate_log_densities(z, component) for component in components])
    return jnp.sum(jax.nn.logsumexp(densities, axis=0, b=jnp.asarray(weights, z.dtype)[:, None, None]), axis=-1)


def mixture_log_density(z: jax.Array, components: Posterior, log_weights: jax.Array | None = None) -> jax.Array:
    """A mixture of P Gaussians, the same for all users, in nats: the VampPrior's density.

    Tomczak & Welling (2018, https://arxiv.org/abs/1705.07120): the components are the posteriors of P pseudo-inputs.
    By matrix products, `O(B P D)` time and never [B, P, D]: squared distances are multiplied out, after all means are
    moved to the origin together, and the nearest component, which needles far apart leave alone, is computed directly.

    Args:
      z: float32[B, D].
      components: `[P, D]` means and log variances.
      log_weights: float32[P], log weights, normalised here; None for equal weights.

    Returns:
      float32[B].
    """
    chex.assert_rank([z, *components], 2)
    if log_weights is None:
        log_weights = jnp.zeros_like(components.mean[:, 0])
    densities = _component_log_densities(z, components)
    nearest = jax.lax.stop_gradient(jnp.argmax(densities, axis=1))
    directly = gaussian_log_density(z, Posterior(*(part[nearest] for part in components)))
    densities = densities.at[jnp.arange(z.shape[0]), nearest].set(directly)
    return jax.nn.logsumexp(jax.nn.log_softmax(log_weights)[None, :] + densities, axis=1)


def _component_log_densities(z: jax.Array, components: Posterior) -> jax.Array:
    """The log density of each z under each component, float32[B, P], to about 1e-6 of its largest term."""
    mean, logvar = components
    # No density depends on the centre, so neither does its gradient.
    centre = jax.lax.stop_gradient(jnp.mean(mean, axis=0, keepdims=True))
    z, mean = z - centre, mean - centre
    precision = jnp.exp(-logvar)
    pulled = mean * precision
    of_component = jnp.sum(_LOG_2PI + logvar + mean * pulled, axis=-1)
    return product(z, pulled.T) - 0.5 * (product(jnp.square(z), precision.T) + of_component[None, :])
