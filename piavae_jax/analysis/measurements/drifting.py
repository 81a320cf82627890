"""Proposition 3.2 on a trained model: what masks do to the posterior mean and to the nearest neighbours."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from piavae_jax import losses
from piavae_jax.analysis.alignment import fitted_anchors
from piavae_jax.analysis.contraction import Curvature, elbo_curvature, mask_statistics
from piavae_jax.analysis.neighbours import nearest_neighbours, neighbour_overlap
from piavae_jax.analysis.posteriors import batch_of, dense_rows, encode_rows
from piavae_jax.analysis.subject import Subject
from piavae_jax.data.csr import CSR


class DriftMeasurement(NamedTuple):
    """How far masks move users, in the units of the model's own latent space and beside its own spread."""

    users: pl.DataFrame
    """A line for each user: `interactions`, `variance` (tr Var_b mu), `largest` (its largest eigenvalue), `drift` from
    the centroid of the fitted anchors, `own_drift` from that of the trained ones (null without PIA), and shares of its
    k nearest neighbours that stay the same, from mask to mask in `between_masks`, under one in `clean_masked`."""
    spread: float
    """`mean ||mu_u - mean mu||^2` over users, clean: latent spaces of different runs have different scales."""
    curvature: Curvature | None
    """float32[*], m and L of the negative ELBO for a few of the users; None where it is not the likelihood and the KL
    from N(0, I)."""


def measure_drift(
    subject: Subject, rows: CSR, *, masks: int = 16, k: int = 20, curved: int = 24, key: jax.Array
) -> DriftMeasurement:
    """Measure the two sides of Proposition 3.2, and neighbourhood drift, on a model's training rows.

    The masks are those of training. Anchors are fitted to every model alike (`fitted_anchors`), with PIA or without, so
    that the drift from the centroid means the same in all; that from PIA's own anchors comes beside it.

    Args:
      subject: the model.
      rows: U users' interactions.
      masks: M >= 2 of each user; O(M U D) memory.
      k: neighbours.
      curved: users whose Hessian is taken, evenly over the numbers of interactions.
      key: a PRNG key, consumed here.
    """
    mask_key, curvature_key = jax.random.split(key)
    clean = encode_rows(subject.model, subject.params, rows)
    means = np.stack(
        [
            encode_rows(subject.model, subject.params, rows, mask=subject.mask, key=one).mean
            for one in jax.random.split(mask_key, masks)
        ]
    )
    batch = batch_of(rows, np.arange(rows.num_rows))
    # Eq. 9 is an expectation over masks, so that its minimum is that for the means over masks.
    anchors = fitted_anchors(jnp.asarray(means.mean(axis=0)), batch, num_items=subject.model.num_items)
    fitted = mask_statistics(jnp.asarray(means), losses.anchor_centroid(anchors, batch))
    own = None
    if subject.anchors is not None:
        own = mask_statistics(jnp.asarray(means), losses.anchor_centroid(subject.anchors, batch)).drift
    nearest = [nearest_neighbours(jnp.asarray(points), k=k) for points in (clean.mean, means[0], means[1])]
    frame = pl.DataFrame(
        {
            "interactions": rows.lengths,
            "variance": np.asarray(fitted.variance),
            "largest": np.asarray(fitted.largest),
            "drift": np.asarray(fitted.drift),
            "own_drift": pl.Series(np.asarray(own)) if own is not None else pl.Series([None] * rows.num_rows),
            "between_masks": neighbour_overlap(nearest[1], nearest[2]),
            "clean_masked": neighbour_overlap(nearest[0], nearest[1]),
        },
        schema_overrides={"own_drift": pl.Float32},
    )
    centred = clean.mean - clean.mean.mean(axis=0)
    spread = float(np.mean(np.sum(np.square(centred), axis=-1)))
    return DriftMeasurement(frame, spread, _curvature(subject, rows, curved, key=curvature_key))


def _curvature(subject: Subject, rows: CSR, count: int, *, key: jax.Array) -> Curvature | None:
    if subject.config.prior.kind != "normal" or subject.config.model.reconstruction != "multinomial":
        return None
    by_length = np.argsort(rows.lengths, kind="stable")
    users = by_length[np.linspace(0, len(by_length) - 1, min(count, len(by_length))).astype(int)]
    posterior = encode_rows(subject.model, subject.params, rows, users=users)
    beta = np.full(len(users), subject.beta, np.float32)
    if subject.config.kl.per_user:
        beta *= rows.lengths[users]
    targets = dense_rows(batch_of(rows, users), subject.model.num_items)
    found = elbo_curvature(
        subject.model, subject.params, targets, posterior, beta=jnp.asarray(beta), samples=8, key=key
    )
    return jax.device_get(found)
