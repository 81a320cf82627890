"""Settings chosen on the validation users, as those of every model are."""

import copy
import inspect
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import polars as pl

from piavae_jax.baselines.baseline import Baseline, check_rows
from piavae_jax.baselines.registry import Entry, Grid, find_baseline, grid_points
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.errors import UserError
from piavae_jax.evaluation import DEFAULT_METRICS, Evaluator

SELECTION_METRIC = "ndcg@100"


class Choice(NamedTuple):
    """The best point of a grid."""

    settings: dict[str, Any]
    """By name, as the baseline's constructor takes them."""
    baseline: Baseline
    params: Any
    """Fitted, for `baseline.score`."""
    table: pl.DataFrame
    """A row for each point of the grid, in its order: settings, validation metrics, seconds of `solve`."""
    seconds: float
    """What fitting the best point alone takes, summary and all."""


def choose(
    name: str,
    dataset: PreparedDataset,
    *,
    grid: Grid | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    batch_size: int = 500,
) -> Choice:
    """Fit a baseline at every point of a grid and keep the best on the validation users.

    What the settings have no part in, such as a Gram matrix, is computed once, as long as points that share it follow
    one another. At most three sets of parameters are held beside it, the best, the newest and the device's copy of
    that: 10 GB for EASE on 25,000 items.

    Args:
      name: a key of `BASELINES`.
      dataset: its training rows are fitted to, its validation users judge; test users are not looked at.
      grid: values by setting, those of `BASELINES` if None.
      metrics: of the table; `SELECTION_METRIC`, which decides, must be one.
      batch_size: users scored at a time.

    Returns:
      The point with the greatest mean of `SELECTION_METRIC`; of equal ones the first.

    Raises:
      UserError: the name, a setting or a value is none, or the metric that decides is missing.
    """
    if SELECTION_METRIC not in metrics:
        raise UserError(f"metrics must hold {SELECTION_METRIC}, which decides, got {', '.join(metrics)}; add it")
    entry = find_baseline(name)
    points = grid_points(_check_grid(name, entry, entry.grid if grid is None else grid))
    baselines = [entry.make(**settings) for settings in points]  # all are checked before the first is fitted
    evaluator = Evaluator(dataset.validation, num_items=dataset.num_items, metrics=metrics, batch_size=batch_size)
    rows: list[dict[str, Any]] = []
    best, params, best_seconds = 0, None, 0.0
    for number, (fitted, seconds, summary_seconds) in enumerate(_fit_each(baselines, dataset)):
        means = {
            label: value.mean for label, value in evaluator.evaluate(baselines[0].score, fitted).summaries().items()
        }
        rows.append({**points[number], **means, "seconds": seconds})
        if number == 0 or means[SELECTION_METRIC] > rows[best][SELECTION_METRIC]:
            best, params, best_seconds = number, fitted, summary_seconds + seconds
    return Choice(points[best], baselines[best], params, pl.DataFrame(rows), best_seconds)


def _fit_each(baselines: Sequence[Baseline], dataset: PreparedDataset) -> Iterator[tuple[Any, float, float]]:
    """Parameters, the seconds that they took from the common summary on, and those of the summary."""
    check_rows(dataset.train, dataset.num_items)
    summary, summary_seconds = None, 0.0
    for number, baseline in enumerate(baselines):
        if number == 0 or baseline.summarize is not baselines[number - 1].summarize:
            summary = None  # gone before the next is made
            started = time.perf_counter()
            summary = baseline.summarize(dataset.train, dataset.num_items)
            summary_seconds = time.perf_counter() - started
        needed_again = number + 1 < len(baselines) and baselines[number + 1].summarize is baseline.summarize
        own = copy.deepcopy(summary) if needed_again else summary
        started = time.perf_counter()
        yield jax.block_until_ready(baseline.solve(own)), time.perf_counter() - started, summary_seconds


def _check_grid(name: str, entry: Entry, grid: Grid) -> Grid:
    known = inspect.signature(entry.make).parameters
    for setting, values in grid.items():
        if setting not in known:
            raise UserError(f"grid must name settings of {name} ({', '.join(known) or 'it has none'}), got {setting!r}")
        if not values:
            raise UserError(f"grid must have a value for each setting, got none for {setting!r}; leave it out")
    return grid
