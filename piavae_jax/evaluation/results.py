"""What an evaluation yields: each user's values, and their means with standard errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from piavae_jax.errors import UserError


class MetricSummary(NamedTuple):
    """The mean of one metric over users."""

    mean: float
    """Over the users who have a held-out item; NaN if none has."""
    standard_error: float
    """Standard deviation (divisor users - 1) over the square root of `users`; NaN below two users."""
    users: int
    """Users in the mean."""
    users_without_targets: int
    """Users left out of it for want of a held-out item."""


@dataclass(frozen=True, eq=False)
class UserMetrics:
    """Values of V users in one evaluation."""

    users: pl.Series
    """V external user ids, Int64 or String."""
    num_input: np.ndarray
    """int64[V], interactions shown to the model."""
    num_target: np.ndarray
    """int64[V], held-out interactions."""
    values: Mapping[str, np.ndarray]
    """float64[V] by label, such as "ndcg@100"; NaN for a user without held-out items."""

    def __len__(self) -> int:
        """V."""
        return len(self.users)

    def summary(self, metric: str) -> MetricSummary:
        """Mean and standard error of one metric.

        Raises:
          UserError: if it was not computed.
        """
        return summarize(self[metric])

    def summaries(self) -> dict[str, MetricSummary]:
        """Mean and standard error of every metric, by label."""
        return {metric: summarize(values) for metric, values in self.values.items()}

    def __getitem__(self, metric: str) -> np.ndarray:
        """float64[V], the values of one metric.

        Raises:
          UserError: if it was not computed.
        """
        if metric not in self.values:
            raise UserError(f'metric "{metric}" was not computed: choose from {", ".join(self.values)}')
        return self.values[metric]


def summarize(values: np.ndarray) -> MetricSummary:
    """Average float[V] over the users who have a value; NaN marks the others."""
    present = values[~np.isnan(values)].astype(np.float64)
    count = len(present)
    mean = float(present.mean()) if count else np.nan
    error = float(present.std(ddof=1) / np.sqrt(count)) if count > 1 else np.nan
    return MetricSummary(mean, error, count, len(values) - count)
