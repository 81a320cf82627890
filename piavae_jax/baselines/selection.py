"""Settings chosen on the validation users, as those of every model are."""

import copy
import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import polars as pl

from piavae_jax.baselines.baseline import Baseline, check_rows
from piavae_jax.baselines.registry import Entry, Grid, find_baseline, grid_points
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.errors import UserError
from piavae_jax.evaluation import DEFAULT_METRICS, Evaluator

SELECTION_METRIC = "ndcg@100"

Search: TypeAlias = Literal["all", "climb"]
"""Which points of a grid are fitted."""


class Choice(NamedTuple):
    """The best point of a grid."""

    settings: dict[str, Any]
    """By name, as the baseline's constructor takes them."""
    baseline: Baseline
    params: Any
    """Fitted, for `baseline.score`."""
    table: pl.DataFrame
    """A row for each point that was fitted, in that order: settings, validation metrics, seconds of `solve`."""
    seconds: float
    """What fitting the best point alone takes, summary and all."""


def choose(
    name: str,
    dataset: PreparedDataset,
    *,
    grid: Grid | None = None,
    search: Search = "all",
    metrics: Sequence[str] = DEFAULT_METRICS,
    batch_size: int = 500,
) -> Choice:
    """Fit a baseline at points of a grid and keep the best on the validation users.

    What the settings have no part in, such as a Gram matrix, is computed once, as long as points that share it follow
    one another. At most four sets of parameters are held, the summary, the best, the newest and the device's copy of
    that: 10 GB for EASE on 25,000 items.

    Args:
      name: a key of `BASELINES`.
      dataset: its training rows are fitted to, its validation users judge; test users are not looked at.
      grid: values by setting, in order of size, those of `BASELINES` if None.
      search: `all` fits every point; `climb` starts in the middle and changes one setting at a time, to the next value
        of the grid, for as long as that helps: a fraction of the points, for a catalogue where each takes minutes.
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
    grid = _check_grid(name, entry, entry.grid if grid is None else grid)
    points = grid_points(grid)
    for settings in points:  # all are checked before the first is fitted
        entry.make(**settings)
    evaluator = Evaluator(dataset.validation, num_items=dataset.num_items, metrics=metrics, batch_size=batch_size)
    trial = _Trial(entry.make, dataset, evaluator)
    if search == "climb":
        climb(grid, trial.quality)
    else:
        for settings in points:
            trial.quality(settings)
    return trial.choice()


def climb(grid: Grid, quality: Callable[[dict[str, Any]], float]) -> dict[str, Any]:
    """Go from the middle of a grid to a point that no step along one setting betters.

    Args:
      grid: values by setting, in order of size.
      quality: of a point, the more the better; asked once for each point.

    Returns:
      The point.
    """
    known: dict[tuple[int, ...], float] = {}
    names = list(grid)

    def ask(place: tuple[int, ...]) -> float:
        if place not in known:
            known[place] = quality({name: grid[name][at] for name, at in zip(names, place, strict=True)})
        return known[place]

    here = tuple(len(grid[name]) // 2 for name in names)
    ask(here)
    moved = True
    while moved:
        moved = False
        for axis, name in enumerate(names):
            for step in (-1, 1):
                there = (*here[:axis], here[axis] + step, *here[axis + 1 :])
                while 0 <= there[axis] < len(grid[name]) and ask(there) > ask(here):
                    here, moved = there, True
                    there = (*here[:axis], here[axis] + step, *here[axis + 1 :])
    return {name: grid[name][at] for name, at in zip(names, here, strict=True)}


class _Trial:
    """Fits points one after the other, and remembers the best."""

    def __init__(self, make: Callable[..., Baseline], dataset: PreparedDataset, evaluator: Evaluator) -> None:
        check_rows(dataset.train, dataset.num_items)
        self._make, self._dataset, self._evaluator = make, dataset, evaluator
        self._summarize: Callable[..., Any] | None = None
        self._summary: Any = None
        self._summary_seconds = 0.0
        self._rows: list[dict[str, Any]] = []
        self._best: tuple[float, dict[str, Any], Baseline, Any, float] | None = None

    def quality(self, settings: dict[str, Any]) -> float:
        """The mean of `SELECTION_METRIC` at a point."""
        baseline = self._make(**settings)
        self._summarize_for(baseline)
        own = copy.deepcopy(self._summary)  # `solve` may overwrite it
        started = time.perf_counter()
        params = jax.block_until_ready(baseline.solve(own))
        seconds = time.perf_counter() - started
        del own
        means = {
            label: value.mean for label, value in self._evaluator.evaluate(baseline.score, params).summaries().items()
        }
        self._rows.append({**settings, **means, "seconds": seconds})
        found = means[SELECTION_METRIC]
        if self._best is None or found > self._best[0]:
            self._best = found, settings, baseline, params, self._summary_seconds + seconds
        return found

    def _summarize_for(self, baseline: Baseline) -> None:
        if self._summarize is baseline.summarize:
            return
        self._summary = None  # gone before the next is made
        started = time.perf_counter()
        self._summary = baseline.summarize(self._dataset.train, self._dataset.num_items)
        self._summary_seconds = time.perf_counter() - started
        self._summarize = baseline.summarize

    def choice(self) -> Choice:
        assert self._best is not None
        _, settings, baseline, params, seconds = self._best
        return Choice(settings, baseline, params, pl.DataFrame(self._rows), seconds)


def _check_grid(name: str, entry: Entry, grid: Grid) -> Grid:
    known = inspect.signature(entry.make).parameters
    for setting, values in grid.items():
        if setting not in known:
            raise UserError(f"grid must name settings of {name} ({', '.join(known) or 'it has none'}), got {setting!r}")
        if not values:
            raise UserError(f"grid must have a value for each setting, got none for {setting!r}; leave it out")
    return grid
