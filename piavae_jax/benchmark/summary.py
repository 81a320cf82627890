"""What a benchmark says about each system, over users and over seeds."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from piavae_jax.benchmark.records import Record
from piavae_jax.benchmark.system import Outcome
from piavae_jax.evaluation import MetricSummary, UserMetrics, average_runs
from piavae_jax.training.session import SELECTION_METRIC


class Row(NamedTuple):
    """A system's runs in one line."""

    system: str
    label: str
    family: str
    done: tuple[Record, ...]
    """By seed."""
    failed: tuple[Record, ...]
    users: UserMetrics | None
    """Test users, each one's mean over the seeds; None where no run is done."""

    @property
    def outcomes(self) -> list[Outcome]:
        """Of the runs that are done."""
        return [record.outcome for record in self.done if record.outcome is not None]

    @property
    def metrics(self) -> dict[str, MetricSummary]:
        """Mean and standard error over test users by label."""
        return {} if self.users is None else self.users.summaries()

    @property
    def train_seconds(self) -> float:
        """Mean over the seeds."""
        return float(np.mean([outcome.train_seconds for outcome in self.outcomes]))

    @property
    def parameters(self) -> int:
        """Those of the first seed's run."""
        return self.outcomes[0].parameters

    def seed_deviation(self, metric: str) -> float:
        """Standard deviation over seeds (divisor seeds - 1) of the mean over test users; NaN below two seeds."""
        means = [outcome.test.summary(metric).mean for outcome in self.outcomes]
        return float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")

    def validation(self, metric: str) -> float:
        """Mean over validation users and seeds."""
        return float(np.mean([outcome.validation.summary(metric).mean for outcome in self.outcomes]))


def summarize_systems(records: Sequence[Record]) -> list[Row]:
    """A row for each system, best test nDCG@100 first, those without a finished run last.

    Args:
      records: sorted by system and seed.
    """
    rows = [_make_row(list(group)) for _, group in itertools.groupby(records, key=lambda record: record.system)]
    return sorted(rows, key=lambda row: -row.metrics[SELECTION_METRIC].mean if row.metrics else np.inf)


def _make_row(records: list[Record]) -> Row:
    done = tuple(record for record in records if record.outcome is not None)
    failed = tuple(record for record in records if record.outcome is None)
    users = average_runs([record.outcome.test for record in done if record.outcome is not None]) if done else None
    last = records[-1]
    return Row(last.system, last.label, last.family, done, failed, users)
