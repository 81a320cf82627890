"""Eq. 7 on a trained model, clean and masked: information, mismatch with the prior, active units."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from piavae_jax.analysis.active_units import UnitActivity, active_units, collapse_warning, unit_activity
from piavae_jax.analysis.information import KLDecomposition, kl_decomposition
from piavae_jax.analysis.posteriors import encode_rows
from piavae_jax.analysis.subject import Subject
from piavae_jax.data.csr import CSR
from piavae_jax.types import Posterior


class InformationMeasurement(NamedTuple):
    """What the latent code of a kind of input tells of the user."""

    decomposition: KLDecomposition
    activity: UnitActivity
    active: int
    """Units of D."""
    warning: str | None
    """Of posterior collapse."""

    @property
    def units(self) -> pl.DataFrame:
        """A line for each latent coordinate, the most active first: `variance` of its mean over users, `kl` in nats."""
        frame = pl.DataFrame({"variance": np.asarray(self.activity.variance), "kl": np.asarray(self.activity.kl)})
        return frame.sort("variance", descending=True)


def measure_information(
    subject: Subject, rows: CSR, *, masks: int = 0, samples: int = 1, key: jax.Array
) -> InformationMeasurement:
    """Measure Eq. 7 on a model's training rows.

    Args:
      subject: the model.
      rows: U users' interactions.
      masks: of each user in the aggregated posterior, as in training; 0 encodes the clean rows.
      samples: S draws from each posterior; O(S (U masks)^2 D) time.
      key: a PRNG key, consumed here.
    """
    mask_key, sample_key = jax.random.split(key)
    if masks:
        drawn = [
            encode_rows(subject.model, subject.params, rows, mask=subject.mask, key=one)
            for one in jax.random.split(mask_key, masks)
        ]
        posterior = Posterior(*(jnp.concatenate(parts) for parts in zip(*drawn, strict=True)))
    else:
        posterior = encode_rows(subject.model, subject.params, rows)
    return InformationMeasurement(
        decomposition=kl_decomposition(posterior, samples=samples, repeats=max(masks, 1), key=sample_key),
        activity=unit_activity(posterior),
        active=active_units(posterior),
        warning=collapse_warning(posterior),
    )
