"""Proposition 3.2: how far masks move the posterior mean, and the factor by which alignment should damp that."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from piavae_jax import losses
from piavae_jax.models import Model
from piavae_jax.types import Params, Posterior


class MaskStatistics(NamedTuple):
    """How masks move each of B users' posterior means."""

    variance: jax.Array
    """float32[B], `tr Var_b[mu(x_h)]`, unbiased."""
    largest: jax.Array
    """float32[B], `||Var_b[mu(x_h)]||_2`, its largest eigenvalue; of fewer masks than D it is too large on average."""
    drift: jax.Array
    """float32[B], `E_b ||mu(x_h) - ebar||^2`."""


class Curvature(NamedTuple):
    """The extreme eigenvalues of H, the Hessian of the negative ELBO in the posterior mean."""

    smallest: jax.Array
    """float32[B], m of Proposition 3.2: it must be positive."""
    largest: jax.Array
    """float32[B], L."""


def mask_statistics(means: jax.Array, centroids: jax.Array) -> MaskStatistics:
    """Moments of the posterior mean over masks (Proposition 3.2).

    Args:
      means: float32[M, B, D], of M >= 2 masks of B users.
      centroids: float32[B, D], `ebar` of the full rows.
    """
    centred = means - jnp.mean(means, axis=0, keepdims=True)
    freedom = means.shape[0] - 1
    # The M x M Gram matrix has the eigenvalues of the D x D covariance.
    gram = jnp.einsum("mbd,nbd->bmn", centred, centred, precision="highest") / freedom
    return MaskStatistics(
        variance=jnp.trace(gram, axis1=1, axis2=2),
        largest=jnp.linalg.eigvalsh(gram)[:, -1],
        drift=jnp.mean(jnp.sum(jnp.square(means - centroids[None]), axis=-1), axis=0),
    )


def contraction_factor(largest: jax.Array, anchor_weight: float) -> jax.Array:
    """`tau = L / (L + 2 lambda_A)` (Proposition 3.2): squared drift shrinks by tau, variance by tau^2, or more.

    Args:
      largest: float32[B], L.
      anchor_weight: lambda_A, not negative.

    Returns:
      float32[B] in (0, 1].
    """
    return largest / (largest + 2 * anchor_weight)


def elbo_curvature(
    model: Model,
    params: Params,
    rows: jax.Array,
    posterior: Posterior,
    *,
    beta: jax.Array,
    samples: int,
    key: jax.Array,
) -> Curvature:
    """The extreme eigenvalues of `d^2/dmu^2 (E_eps [nll(mu + sigma eps)] + beta KL)` at the posterior means.

    Args:
      model: a `Model`.
      params: of the model.
      rows: float32[B, I], dense rows of a few users.
      posterior: their `[B, D]` posteriors, where the Hessian is taken.
      beta: float32[B], weight of the KL from N(0, I), whose own Hessian is beta I.
      samples: S draws of eps, the same for all users.
      key: a PRNG key, consumed here.

    Returns:
      The eigenvalues; O(B S D) passes through the decoder, one user at a time.
    """
    noise = jax.random.normal(key, (samples, model.latent_dim))

    def of_user(user: tuple[jax.Array, jax.Array, jax.Array, jax.Array]) -> Curvature:
        row, mean, logvar, weight = user

        def objective(at: jax.Array) -> jax.Array:
            z = at[None, :] + jnp.exp(0.5 * logvar)[None, :] * noise
            targets = jnp.broadcast_to(row[None, :], (samples, len(row)))
            nll = losses.multinomial_nll(model.decode(params, z), targets)
            return jnp.mean(nll) + 0.5 * weight * jnp.sum(jnp.square(at))

        # Not `jax.hessian`: the decoder's custom gradients have no forward mode.
        eigenvalues = jnp.linalg.eigvalsh(jax.jacrev(jax.grad(objective))(mean))
        return Curvature(eigenvalues[0], eigenvalues[-1])

    return jax.lax.map(of_user, (rows, *posterior, beta))
