"""Systems of `piavae_jax.baselines`, which are fitted in one go with the settings that are best on validation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from piavae_jax.baselines import Choice, choose
from piavae_jax.baselines.registry import find_baseline
from piavae_jax.benchmark.records import OUTCOME, is_done, run_path
from piavae_jax.benchmark.sized_config import MANY_ITEMS
from piavae_jax.benchmark.system import Family, Outcome, System
from piavae_jax.config import ExperimentConfig
from piavae_jax.data.json_files import read_json, write_json
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.training.session import SELECTION_METRIC, make_evaluator

_FOUND = "settings.json"
"""What a search found for others, where the benchmark has not run the baseline itself."""


def linear(name: str, label: str, *, family: Family = "linear", check: Callable[[], None] = lambda: None) -> System:
    """Build the system of a baseline.

    Args:
      name: a key of `BASELINES`, whose grid is searched, and the name of the system.
      label: for tables.
      family: for tables.
      check: of the system.
    """

    def run(dataset: PreparedDataset, folder: Path, seed: int, console: Console) -> Outcome:
        del folder, seed
        choice = _search(name, dataset)
        _describe(choice, console)
        validation, test = (
            make_evaluator(ExperimentConfig(), part, dataset).evaluate(choice.baseline.score, choice.params)
            for part in (dataset.validation, dataset.test)
        )
        parameters = sum(int(leaf.size) for leaf in jax.tree.leaves(choice.params))
        return Outcome(validation, test, choice.seconds, parameters, dict(choice.settings))

    return System(name, label, seeds=False, family=family, run=run, check=check)


def chosen_settings(name: str, dataset: PreparedDataset, root: Path) -> dict[str, Any]:
    """The settings of a baseline that are best on validation: those that the benchmark in `root` has found already, or
    else a search's, which are kept there for the next fusion."""
    folder = run_path(root, name, 0)
    if is_done(folder):
        return read_json(folder / OUTCOME)["settings"]
    if not (folder / _FOUND).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _FOUND, _search(name, dataset).settings)
    return read_json(folder / _FOUND)


def _search(name: str, dataset: PreparedDataset) -> Choice:
    """All of the grid, or a climb through that of many items, without dimensions that the data cannot have."""
    entry, large = find_baseline(name), dataset.num_items >= MANY_ITEMS
    grid = {**entry.grid, **entry.of_many_items} if large else dict(entry.grid)
    most = min(dataset.train.num_rows, dataset.num_items)
    if "dim" in grid:
        grid["dim"] = [dim for dim in grid["dim"] if dim <= most] or [most]
    return choose(name, dataset, grid=grid, search="climb" if large else "all")


def _describe(choice: Choice, console: Console) -> None:
    for row in choice.table.iter_rows(named=True) if choice.table.height > 1 else ():
        settings = ", ".join(f"{setting} {row[setting]:g}" for setting in choice.settings)
        console.print(f"    {settings}  nDCG@100 {row[SELECTION_METRIC]:.4f}", highlight=False)
