"""Paired comparison of systems on the same users."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy  # scipy.stats, a second to load, loads at its first use

from piavae_jax.errors import UserError
from piavae_jax.evaluation.results import UserMetrics
from piavae_jax.evaluation.runs import Runs, align_users, average_runs

RESAMPLES = 10_000
_Interval: TypeAlias = Callable[[np.ndarray], tuple[float, float]]
_BATCH, _INDICES = 64, 640_000  # most resamples drawn at a time, and about as many indices: 5 MB


class Comparison(NamedTuple):
    """How one system differs from a baseline in one metric, over the users who have a held-out item."""

    system: str
    baseline: str
    metric: str
    users: int
    """Pairs of values."""
    system_mean: float
    baseline_mean: float
    difference: float
    """Mean over users of system minus baseline."""
    relative: float
    """`difference / baseline_mean`; NaN where that mean is zero."""
    low: float
    """Lower end of the confidence interval of `difference`."""
    high: float
    """Upper end."""
    p_value: float
    """Two-sided paired t-test of no difference."""
    p_holm: float
    """`p_value`, corrected for all the comparisons made together."""


def compare(
    systems: Mapping[str, Runs],
    baseline: str,
    *,
    metrics: Sequence[str] | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> list[Comparison]:
    """Compare every other system with the baseline, user by user.

    Each user's value is averaged over a system's runs first, so that users stay the units of the test: it speaks about
    these runs, and how much seeds vary is no part of it. The interval is a percentile bootstrap over users (Efron,
    Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13); a system and metric of 10,000 users takes 0.9 s at
    10,000 resamples on one core. The p-values come from paired t-tests (where all users differ by the
    same, from the sign test); `p_holm` bounds the chance of any false claim
    among all the comparisons returned (Holm: A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian
    Journal of Statistics 6(2), 1979).

    Args:
      systems: results by name, on the same users in any order.
      baseline: one of the names.
      metrics: labels; by default every metric of the baseline.
      seed: of the resamples.
      confidence: level of the interval, in (0, 1).
      resamples: bootstrap resamples.

    Returns:
      A comparison for each other system and metric, system by system.

    Raises:
      UserError: if the baseline, a metric or a user's value is missing, there is nothing to compare it with, or the
        users differ.
    """
    _check(systems, baseline, confidence=confidence, resamples=resamples)
    interval = partial(bootstrap_interval, seed=seed, confidence=confidence, resamples=resamples)
    reference = average_runs(systems[baseline])
    paired = _users_with_targets(reference)
    comparisons = []
    for name in (name for name in systems if name != baseline):
        system = align_users(average_runs(systems[name]), reference)
        for label in reference.values if metrics is None else metrics:
            names = (name, baseline, label)
            comparisons.append(_compare_pair(names, system[label][paired], reference[label][paired], interval))
    corrected = holm(np.array([comparison.p_value for comparison in comparisons]))
    return [row._replace(p_holm=float(p)) for row, p in zip(comparisons, corrected, strict=True)]


def bootstrap_interval(
    values: np.ndarray, *, seed: int = 0, confidence: float = 0.95, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Confidence interval of the mean of float[V], V at least 2, by a percentile bootstrap; see `compare`."""
    interval = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, min(_BATCH, _INDICES // len(values))),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjust p-values, float[M], so that claiming those below a level errs at all with at most that probability."""
    order = np.argsort(p_values)
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(scaled)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def _compare_pair(names: tuple[str, str, str], new: np.ndarray, old: np.ndarray, interval: _Interval) -> Comparison:
    system, baseline, metric = names
    missing = int(np.count_nonzero(np.isnan(new - old)))
    if missing:
        raise UserError(
            f"{metric} must have a value for every user with held-out items, got none for {missing} of {len(old)} of "
            f'"{system}" or "{baseline}": evaluate both alike'
        )
    difference, base = float(np.mean(new - old)), float(old.mean())
    low, high = interval(new - old)
    return Comparison(
        system=system,
        baseline=baseline,
        metric=metric,
        users=len(old),
        system_mean=float(new.mean()),
        baseline_mean=base,
        difference=difference,
        relative=difference / base if base else float("nan"),
        low=low,
        high=high,
        p_value=_paired_t_test(new, old),
        p_holm=float("nan"),
    )


def _users_with_targets(metrics: UserMetrics) -> np.ndarray:
    """bool[V]."""
    paired = metrics.num_target > 0
    count = np.count_nonzero(paired)
    if count < 2:
        raise UserError(f"a comparison needs at least 2 users with held-out items, got {count}: hold out more users")
    return paired


def _paired_t_test(new: np.ndarray, old: np.ndarray) -> float:
    differences = new - old
    if np.ptp(differences) == 0.0:  # no spread: the statistic is 0 / 0, or infinite for however few users
        return 2.0 ** (1 - len(differences)) if differences[0] else 1.0  # the sign test's, as all have one sign
    return float(scipy.stats.ttest_rel(new, old).pvalue)


def _check(systems: Mapping[str, Runs], baseline: str, *, confidence: float, resamples: int) -> None:
    if baseline not in systems:
        raise UserError(f'baseline "{baseline}" has no results: choose from {", ".join(systems)}')
    if len(systems) < 2:
        raise UserError(f'"{baseline}" has nothing to be compared with: pass the results of another system')
    if not 0.0 < confidence < 1.0:
        raise UserError(f"confidence must lie between 0 and 1, got {confidence}: pass e.g. 0.95")
    if resamples < 1:
        raise UserError(f"resamples must be at least 1, got {resamples}: pass e.g. {RESAMPLES}")
