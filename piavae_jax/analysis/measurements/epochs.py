"""What changes while a model learns: information in the latent code, and who a user's neighbours are."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from piavae_jax.analysis.information import kl_decomposition
from piavae_jax.analysis.neighbours import nearest_neighbours, neighbour_overlap
from piavae_jax.analysis.posteriors import encode_rows
from piavae_jax.analysis.subject import Subject
from piavae_jax.data.csr import CSR


def measure_epochs(snapshots: Iterable[tuple[int, Subject]], rows: CSR, *, k: int = 20, key: jax.Array) -> pl.DataFrame:
    """Measure Eq. 7 and neighbourhood drift along a run, at each of its snapshots.

    The two masks are the same at all epochs, so that what changes is the model.

    Args:
      snapshots: epochs, ascending, with the model after each.
      rows: U users' interactions; O(U^2 D) time a snapshot.
      k: neighbours of a user.
      key: a PRNG key, consumed here.

    Returns:
      A line for each snapshot: `epoch`; of the clean rows `mean_kl`, `mutual_information` and `marginal_kl`, nats, and
      `spread`, the mean squared distance of a user's mean from the mean of all; `between_masks`, the share of k nearest
      neighbours that two masks of a user have in common, and `between_epochs`, that of this epoch's and the snapshot's
      before, clean (null in the first line).
    """
    sample_key, *mask_keys = jax.random.split(key, 3)
    lines, before = [], None
    for epoch, subject in snapshots:
        clean = encode_rows(subject.model, subject.params, rows)
        nearest = nearest_neighbours(jnp.asarray(clean.mean), k=k)
        masked = [
            encode_rows(subject.model, subject.params, rows, mask=subject.mask, key=mask_key).mean
            for mask_key in mask_keys
        ]
        found = kl_decomposition(clean, samples=1, key=sample_key)
        lines.append(
            {
                "epoch": epoch,
                **{name: getattr(found, name).value for name in ("mean_kl", "mutual_information", "marginal_kl")},
                "spread": float(np.mean(np.sum(np.square(clean.mean - clean.mean.mean(axis=0)), axis=-1))),
                "between_masks": _mean_overlap(*(nearest_neighbours(jnp.asarray(points), k=k) for points in masked)),
                "between_epochs": None if before is None else _mean_overlap(before, nearest),
            }
        )
        before = nearest
    return pl.DataFrame(lines, schema_overrides={"between_epochs": pl.Float64})


def _mean_overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float(neighbour_overlap(first, second).mean())
