"""Every system against every other, user by user."""

from collections.abc import Mapping, Sequence

import numpy as np

from piavae_jax.evaluation import Comparison, Runs, UserMetrics, average_runs, compare, holm
from piavae_jax.evaluation.runs import align_users
from piavae_jax.evaluation.significance import RESAMPLES

_CONFIDENCE = 0.95
_BATCH = 64  # resamples drawn at a time, as many as `compare` draws


def compare_all(systems: Mapping[str, Runs], *, seed: int = 0, resamples: int = RESAMPLES) -> list[Comparison]:
    """Compare each system with each one after it.

    What `evaluation.compare` gives for each pair, at the same resamples of users: those are drawn once for all systems,
    and one product of how often each user was drawn with the users' values is every system's mean of every metric.
    `p_holm` is corrected over all pairs of a metric.

    Args:
      systems: results by name, on the same users in any order.
      seed: of the resamples.
      resamples: bootstrap resamples.

    Returns:
      A comparison for each pair and metric, pair by pair in the order of the systems, the earlier one minus the later;
      none of fewer than two systems.

    Raises:
      UserError: the users differ, or fewer than two have held-out items.
    """
    if len(systems) < 2:
        return []
    averaged = _average(systems)
    metrics = list(next(iter(averaged.values())).values)
    intervals = _Intervals(averaged, metrics, seed=seed, resamples=resamples)
    return _correct([intervals.fill(row) for row in _compare_pairs(averaged, metrics)])


def oriented(comparisons: Sequence[Comparison], system: str, baseline: str) -> list[Comparison]:
    """The comparisons of a system with a baseline, turned round where they were made the other way."""
    return [
        row if row.system == system else _turn(row)
        for row in comparisons
        if {row.system, row.baseline} == {system, baseline}
    ]


def _turn(row: Comparison) -> Comparison:
    return row._replace(
        system=row.baseline,
        baseline=row.system,
        system_mean=row.baseline_mean,
        baseline_mean=row.system_mean,
        difference=-row.difference,
        relative=-row.difference / row.system_mean if row.system_mean else float("nan"),
        low=-row.high,
        high=-row.low,
    )


def _average(systems: Mapping[str, Runs]) -> dict[str, UserMetrics]:
    averaged = {name: average_runs(runs) for name, runs in systems.items()}
    reference = next(iter(averaged.values()))
    return {name: align_users(metrics, reference) for name, metrics in averaged.items()}


def _compare_pairs(systems: Mapping[str, UserMetrics], metrics: Sequence[str]) -> list[Comparison]:
    """All but the intervals: the fewest resamples that have a standard error stand in for them."""
    names = list(systems)
    rows = [
        row
        for last, baseline in enumerate(names[1:], start=2)
        for row in compare({name: systems[name] for name in names[:last]}, baseline, metrics=metrics, resamples=2)
    ]
    return sorted(rows, key=lambda row: (names.index(row.system), names.index(row.baseline)))


class _Intervals:
    """Percentile bootstrap intervals of the differences between any two systems."""

    def __init__(
        self, systems: Mapping[str, UserMetrics], metrics: Sequence[str], *, seed: int, resamples: int
    ) -> None:
        paired = next(iter(systems.values())).num_target > 0
        self._columns = {pair: column for column, pair in enumerate((n, m) for n in systems for m in metrics)}
        values = np.stack([systems[name][metric][paired] for name, metric in self._columns], axis=1)
        self._means = resampled_means(values, seed=seed, resamples=resamples)

    def fill(self, row: Comparison) -> Comparison:
        """Put the interval in."""
        new, old = (self._means[:, self._columns[name, row.metric]] for name in (row.system, row.baseline))
        differences = np.round(new - old, 14)  # equal systems have equal means up to rounding
        tail = 50 * (1 - _CONFIDENCE)
        low, high = np.percentile(differences, [tail, 100 - tail])
        return row._replace(low=float(low), high=float(high))


def resampled_means(values: np.ndarray, *, seed: int, resamples: int) -> np.ndarray:
    """Means over users who are drawn with replacement, the same users for all columns.

    Args:
      values: float64[V, C], the users' values.
      seed: of the draws.
      resamples: R.

    Returns:
      float64[R, C].
    """
    generator = np.random.default_rng(seed)
    num_users = len(values)
    means = np.empty((resamples, values.shape[1]))
    for start in range(0, resamples, _BATCH):
        rows = min(_BATCH, resamples - start)
        drawn = generator.integers(0, num_users, (rows, num_users))
        drawn += num_users * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * num_users).reshape(rows, num_users)
        means[start : start + rows] = times.astype(np.float64) @ values / num_users
    return means


def _correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p-values of each metric for all its pairs."""
    p_values = np.array([row.p_value for row in comparisons])
    metrics = np.array([row.metric for row in comparisons])
    corrected = np.empty_like(p_values)
    for metric in np.unique(metrics):
        corrected[metrics == metric] = holm(p_values[metrics == metric])
    return [row._replace(p_holm=float(p)) for row, p in zip(comparisons, corrected, strict=True)]
