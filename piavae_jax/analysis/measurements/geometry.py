"""Lemma 2.4 and Eq. 4-6 on a trained model: latent distances beside input distances and beside what the KL allows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from piavae_jax import priors
from piavae_jax.analysis.compromise import compromise
from piavae_jax.analysis.input_distance import drop_one_item, row_overlap
from piavae_jax.analysis.lipschitz import lipschitz_ratios
from piavae_jax.analysis.pairs import random_pairs
from piavae_jax.analysis.posteriors import encode_rows, take
from piavae_jax.analysis.subject import Subject
from piavae_jax.analysis.transport import mean_transport_bound, transport_bound
from piavae_jax.analysis.wasserstein import w1_bounds
from piavae_jax.data.csr import CSR


class GeometryMeasurement(NamedTuple):
    """Random pairs of users, and each user beside itself less one item."""

    pairs: pl.DataFrame
    """A line for each pair: `input_distance`, `shared`, `w1_lower` (distance of means), `w2`, `ratio` (W2 over the
    input distance; null for equal rows), `bound` (Eq. 4); and, null for most pairs, `gap` (the compromise of Eq. 3),
    `overlap` of the posteriors, and `most`, the gap if they were equal."""
    one_item: pl.DataFrame
    """A line for each user: `interactions`, and `ratio`, the W2 that dropping one item moves the user by."""
    mean_w2: float
    """Over the pairs; of masked inputs, each user with a mask of its own, in `mean_w2_masked`."""
    mean_bound: float
    """The right-hand side of Eq. 6 for clean inputs."""
    mean_w2_masked: float
    mean_bound_masked: float

    @property
    def lipschitz(self) -> float:
        """The largest ratio seen: a lower bound of L_phi."""
        return float(np.nanmax([self.pairs["ratio"].max(), self.one_item["ratio"].max()]))


def measure_geometry(
    subject: Subject, rows: CSR, *, pairs: int = 100_000, compared: int = 2_000, key: jax.Array
) -> GeometryMeasurement:
    """Measure Lemma 2.4, Theorem 2.5 and Eq. 4-6 on a model's training rows.

    Args:
      subject: the model.
      rows: users' interactions.
      pairs: P random pairs.
      compared: how many of them have the compromise gap measured; null for the others.
      key: a PRNG key, consumed here.
    """
    pair_key, mask_key, gap_key = jax.random.split(key, 3)
    chosen = random_pairs(rows.num_rows, pairs, key=pair_key)
    posterior = encode_rows(subject.model, subject.params, rows)
    masked = encode_rows(subject.model, subject.params, rows, mask=subject.mask, key=mask_key)
    first, second = (take(posterior, chosen[:, side]) for side in range(2))
    lower, upper = (np.asarray(part) for part in w1_bounds(first, second))
    overlap = row_overlap(rows, chosen)
    kl = priors.gaussian_kl(posterior)
    few = chosen[:compared]
    lengths = rows.lengths[few]
    gaps = compromise(
        take(posterior, few[:, 0]),
        take(posterior, few[:, 1]),
        first_only=jnp.asarray(lengths[:, 0] - overlap.shared[:compared], jnp.float32),
        second_only=jnp.asarray(lengths[:, 1] - overlap.shared[:compared], jnp.float32),
        shared=jnp.asarray(overlap.shared[:compared], jnp.float32),
        samples=16,
        key=gap_key,
    )
    frame = pl.DataFrame(
        {
            "input_distance": overlap.distance,
            "shared": overlap.shared,
            "w1_lower": lower,
            "w2": upper,
            "ratio": lipschitz_ratios(first, second, overlap.distance).by_l1,
            "bound": np.asarray(transport_bound(kl[chosen[:, 0]], kl[chosen[:, 1]])),
            **{name: _padded(values, pairs) for name, values in gaps._asdict().items()},
        }
    )
    masked_pairs = w1_bounds(take(masked, chosen[:, 0]), take(masked, chosen[:, 1]))
    return GeometryMeasurement(
        pairs=frame.with_columns(pl.col("ratio", "gap", "overlap", "most").fill_nan(None)),
        one_item=_one_item(subject, rows),
        mean_w2=float(upper.mean()),
        mean_bound=float(mean_transport_bound(kl)),
        mean_w2_masked=float(jnp.mean(masked_pairs.upper)),
        mean_bound_masked=float(mean_transport_bound(priors.gaussian_kl(masked))),
    )


def _padded(values: jax.Array, length: int) -> np.ndarray:
    return np.pad(np.asarray(values), (0, max(length - len(values), 0)), constant_values=np.nan)[:length]


def _one_item(subject: Subject, rows: CSR) -> pl.DataFrame:
    """Each user beside itself less one item; users with two items at least, who then still have one."""
    users = np.flatnonzero(rows.lengths >= 2)
    whole = encode_rows(subject.model, subject.params, rows, users=users)
    shorter = encode_rows(subject.model, subject.params, drop_one_item(rows, seed=0), users=users)
    ratio = lipschitz_ratios(whole, shorter, np.ones(len(users), int)).by_l1
    return pl.DataFrame({"interactions": rows.lengths[users], "ratio": ratio})
