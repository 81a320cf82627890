"""Which latent coordinates say anything about the user, and whether the posterior has collapsed."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from piavae_jax.types import Posterior

ACTIVE_VARIANCE = 0.01
"""The threshold of Burda et al. (2016)."""
COLLAPSED_SHARE, COLLAPSED_KL = 0.1, 1.0


class UnitActivity(NamedTuple):
    """What each of D coordinates does over U users."""

    variance: jax.Array
    """float32[D], `Var_u E[z_d | x_u]`: of the posterior means over users."""
    kl: jax.Array
    """float32[D], mean KL of the coordinate from N(0, 1), nats; they add up to the mean KL."""


def unit_activity(posterior: Posterior) -> UnitActivity:
    """Measure the coordinates of `[U, D]` posteriors."""
    mean, logvar = posterior
    kl = 0.5 * jnp.mean(jnp.expm1(logvar) - logvar + jnp.square(mean), axis=0)
    return UnitActivity(jnp.var(mean, axis=0), kl)


def active_units(posterior: Posterior, *, threshold: float = ACTIVE_VARIANCE) -> int:
    """Coordinates whose posterior mean varies over users by more than `threshold` (Burda et al. 2016, section 5.2).

    The threshold is absolute: it says something beside a prior of unit variance, and little where an anchor loss sets
    the scale of the latent space; `unit_activity` has the variances.
    """
    return int(jnp.sum(unit_activity(posterior).variance > threshold))


def collapse_warning(posterior: Posterior) -> str | None:
    """A sentence that warns of posterior collapse, or None.

    Collapsed means fewer than a tenth of the units active, or less than 1 nat of KL a user.
    """
    count, dim = active_units(posterior), posterior.mean.shape[1]
    kl = float(jnp.sum(unit_activity(posterior).kl))
    if count >= COLLAPSED_SHARE * dim and kl >= COLLAPSED_KL:
        return None
    return f"the posterior has collapsed: {count} of {dim} units are active, {kl:.2f} nats of KL a user; lower beta"
