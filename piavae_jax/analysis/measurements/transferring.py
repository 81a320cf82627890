"""Theorem 2.3 on a trained model: pairs of users from next neighbours to the farthest."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from piavae_jax.analysis.input_distance import row_overlap
from piavae_jax.analysis.neighbours import nearest_neighbours
from piavae_jax.analysis.pairs import random_pairs, spread_pairs
from piavae_jax.analysis.posteriors import batch_of, dense_rows, encode_rows, take
from piavae_jax.analysis.subject import Subject
from piavae_jax.analysis.transfer import first_order_bound, local_lipschitz, sharing_radius, transfer, transfer_penalty
from piavae_jax.analysis.wasserstein import coupled_w1, w2, w2_points
from piavae_jax.data.csr import CSR
from piavae_jax.types import Posterior

_CANDIDATES, _NEAREST, _PROBES = 100_000, 10, 16


class TransferMeasurement(NamedTuple):
    """What a step on one user does to another, over pairs that cover all latent distances."""

    pairs: pl.DataFrame
    """A line for each pair: `u`, `v`, `input_distance`, `shared`, `w2`, `w1` (an upper bound, `coupled_w1`), `loss`,
    `change`, `first_order` (-eta <g_u, g_v>), `bound` (of the theorem), `gain` (<g_u, g_v> / ||g_u||^2: 1 is what a
    step on u itself would bring), `cosine` of the gradients, `gradient_norm`, `content_mismatch`, `latent_mismatch`,
    `radius`."""
    lipschitz: float
    """The largest constant seen, by pairs and by local derivatives: a lower bound of the theorem's L."""
    typical_w2: float
    """The mean W2 of random pairs, the scale of the space."""


def measure_transfer(
    subject: Subject,
    rows: CSR,
    *,
    pairs: int = 1000,
    samples: int = 16,
    learning_rate: float = 1e-4,
    key: jax.Array,
) -> TransferMeasurement:
    """Measure Theorem 2.3 on a model's training rows.

    Pairs are drawn evenly over the range of W2 from random pairs and from each user's nearest neighbours, which random
    pairs hardly ever are. Takes 0.05 s a pair on a core for the 2 million parameters of ML-1M's decoder.

    Args:
      subject: the model.
      rows: users' interactions.
      pairs: P.
      samples: S draws of z for each expectation.
      learning_rate: eta of the step.
      key: a PRNG key, consumed here.
    """
    candidate_key, choice_key, transfer_key, coupling_key, probe_key = jax.random.split(key, 5)
    posterior = encode_rows(subject.model, subject.params, rows)
    chosen, typical = _choose(posterior, pairs, candidate_key=candidate_key, choice_key=choice_key)
    first, second = (take(posterior, chosen[:, side]) for side in range(2))
    found = transfer(
        subject.model,
        subject.params,
        rows,
        posterior,
        chosen,
        learning_rate=learning_rate,
        samples=samples,
        key=transfer_key,
    )
    lipschitz = max(float(found.lipschitz.max()), _local(subject, rows, posterior, chosen, key=probe_key))
    apart = coupled_w1(first, second, samples=samples, key=coupling_key)
    overlap = row_overlap(rows, chosen)
    penalty = transfer_penalty(apart, found.content_mismatch, lipschitz=lipschitz)
    norms = np.maximum(found.gradient_norm, 1e-12)
    columns = {
        "u": chosen[:, 0],
        "v": chosen[:, 1],
        "input_distance": overlap.distance,
        "shared": overlap.shared,
        "w2": w2(first, second),
        "w1": apart,
        "loss": found.loss,
        "change": found.change,
        "first_order": -learning_rate * found.inner,
        "bound": first_order_bound(found.gradient_norm, penalty, learning_rate=learning_rate),
        "gain": found.inner / norms**2,
        "cosine": found.inner / (norms * np.maximum(found.other_norm, 1e-12)),
        "gradient_norm": found.gradient_norm,
        "content_mismatch": found.content_mismatch,
        "latent_mismatch": found.latent_mismatch,
        "radius": sharing_radius(found.gradient_norm, found.content_mismatch, lipschitz=lipschitz),
    }
    return TransferMeasurement(
        pl.DataFrame({name: np.asarray(values) for name, values in columns.items()}), lipschitz, typical
    )


def _choose(
    posterior: Posterior, count: int, *, candidate_key: jax.Array, choice_key: jax.Array
) -> tuple[np.ndarray, float]:
    """int64[P, 2], and the mean distance of random pairs."""
    num_users = len(posterior.mean)
    nearest = nearest_neighbours(w2_points(posterior), k=min(_NEAREST, num_users - 1))
    near = np.stack([np.repeat(np.arange(num_users), nearest.shape[1]), nearest.ravel()], axis=1)
    candidates = np.concatenate([random_pairs(num_users, _CANDIDATES, key=candidate_key), near])
    distances = np.asarray(w2(take(posterior, candidates[:, 0]), take(posterior, candidates[:, 1])))
    return candidates[spread_pairs(distances, count, key=choice_key)], float(distances[:_CANDIDATES].mean())


def _local(subject: Subject, rows: CSR, posterior: Posterior, pairs: np.ndarray, *, key: jax.Array) -> float:
    """The largest local constant at the posterior means of a few users with the longest rows: it grows with n."""
    users = np.unique(pairs)
    probes = users[np.argsort(-rows.lengths[users])[:_PROBES]]
    targets = dense_rows(batch_of(rows, probes), subject.model.num_items)
    codes = jnp.asarray(posterior.mean[probes])
    return float(jnp.max(local_lipschitz(subject.model, subject.params, targets, codes, key=key)))
