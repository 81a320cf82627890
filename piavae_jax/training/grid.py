"""A grid of settings, each trained in a run folder of its own and judged on validation users."""

import ast
import copy
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from rich.console import Console

from piavae_jax.config import ExperimentConfig, validate
from piavae_jax.data.prepared import PreparedDataset, load_prepared
from piavae_jax.errors import UserError
from piavae_jax.training import run_folder
from piavae_jax.training.epoch import NonFiniteLoss
from piavae_jax.training.fit import fit
from piavae_jax.training.progress import ProgressBar
from piavae_jax.training.session import SELECTION_METRIC

_BEST = f"validation/{SELECTION_METRIC}"


class Point(NamedTuple):
    """One setting of the grid."""

    settings: dict[str, Any]
    """Values by config path, such as `pia.weight`."""
    config: ExperimentConfig
    workdir: Path


def parse_axes(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read axes such as `pia.weight=0.5,1,2`.

    Raises:
      UserError: one is not of this form.
    """
    axes = {}
    for text in texts:
        path, _, values = text.partition("=")
        try:
            axes[path] = list(ast.literal_eval(f"[{values}]"))
            if not axes[path]:
                raise ValueError("no values")
        except (ValueError, SyntaxError) as error:
            raise UserError(f"--grid must be FIELD=VALUE,VALUE,... such as pia.weight=0.5,1,2, got {text!r}") from error
    return axes


def make_grid(config: ExperimentConfig, axes: Mapping[str, Sequence[Any]], root: Path) -> list[Point]:
    """All combinations of the axes' values around a config.

    Raises:
      UserError: an axis names no field of the config, or a value breaks its rule.
    """
    return [
        _make_point(config, dict(zip(axes, values, strict=True)), root) for values in itertools.product(*axes.values())
    ]


def _make_point(config: ExperimentConfig, settings: dict[str, Any], root: Path) -> Point:
    changed = copy.deepcopy(config)
    for path, value in settings.items():
        _set_field(changed, path, value)
    name = ",".join(f"{path}={value}" for path, value in sorted(settings.items())).replace("/", "_")
    return Point(settings, validate(changed), root / name)


def _set_field(config: ExperimentConfig, path: str, value: Any) -> None:
    *parents, name = path.split(".")
    holder: Any = config
    for parent in parents:
        holder = getattr(holder, parent, None)
    if not hasattr(holder, name):
        raise UserError(f"--grid names {path}, which is no field of the config; they are in piavae_jax/config.py")
    setattr(holder, name, value)


def train_grid(points: Sequence[Point], dataset: PreparedDataset, *, console: Console) -> None:
    """Train every point: a finished one is passed over, a stopped one goes on, one that diverges is left."""
    for number, point in enumerate(points, start=1):
        console.print(f"{number}/{len(points)}  {point.workdir.name}", highlight=False)
        try:
            with ProgressBar(console) as bar:
                fit(point.config, dataset, point.workdir, listener=bar)
        except NonFiniteLoss as error:
            console.print(f"diverged: {error}", highlight=False)


def collect_grid(points: Sequence[Point]) -> pl.DataFrame:
    """The points so far, unfinished ones too, best first: settings, best validation nDCG@100, its epoch, epochs run."""
    rows = []
    for point in points:
        if not run_folder.exists(point.workdir):
            continue
        records = run_folder.read_metrics(run_folder.load(point.workdir))
        if records:
            best = max(records, key=lambda record: record[_BEST])
            rows.append({**point.settings, _BEST: best[_BEST], "best_epoch": best["epoch"], "epochs": len(records)})
    return pl.DataFrame(rows).sort(_BEST, descending=True) if rows else pl.DataFrame()


def run_grid(
    config: ExperimentConfig, texts: Sequence[str], root: Path, *, shard: tuple[int, int], console: Console
) -> pl.DataFrame:
    """Train this process's share of a grid and write what is known of the whole as `grid.csv`; raises UserError."""
    points = make_grid(config, parse_axes(texts), root)
    index, count = shard
    train_grid(points[index::count], load_prepared(config.data.path), console=console)
    table = collect_grid(points)
    table.write_csv(root / "grid.csv")
    return table
