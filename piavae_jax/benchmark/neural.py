"""Systems that are trained by the fit loop, each run in a run folder."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from rich.console import Console

from piavae_jax.benchmark.sized_config import sized_config
from piavae_jax.benchmark.system import Family, Outcome, System
from piavae_jax.config import ExperimentConfig, apply_settings, to_dict
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.evaluation import UserMetrics
from piavae_jax.training import run_folder
from piavae_jax.training.epoch import NonFiniteLoss
from piavae_jax.training.fit import Listener, fit
from piavae_jax.training.progress import ProgressBar
from piavae_jax.training.restore import TrainedModel, restore
from piavae_jax.training.results import make_run_evaluator
from piavae_jax.training.session import SELECTION_METRIC

RUN = "run"
_SCORING = ("encoder", "decoder")
"""The parameters that scores are computed from; anchors, priors, critics and user nodes serve training."""
_ROUNDING = 0.01
"""By what part the mean of a ranking metric may differ between devices that round differently."""


class _Point(NamedTuple):
    """One setting of a grid."""

    settings: dict[str, Any]
    config: ExperimentConfig
    workdir: Path


def neural(
    name: str,
    label: str,
    *,
    family: Family = "vae",
    preset: str | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    grid: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> System:
    """Build a system that is trained with the settings that fit the data set's size, and ends at its best epoch.

    Args:
      name: of the system.
      label: for tables.
      family: for tables.
      preset: one of `presets.PRESETS`; by default `name`.
      settings: values by config path, such as `{"pia.weight": 0.1}`, that differ from `sized_config`.
      grid: values to choose among on validation users, by config path; every combination is trained, in a run folder
        of its own.
    """

    def run(dataset: PreparedDataset, folder: Path, seed: int, console: Console) -> Outcome:
        base = apply_settings(config_of(dataset, preset or name, name=name, seed=seed), settings)
        best = _train_all(_make_points(base, grid, folder / RUN), dataset, console)
        return _measure(restore(best.workdir), best, dataset)

    return System(name, label, seeds=True, family=family, run=run)


def config_of(dataset: PreparedDataset, preset: str, *, name: str, seed: int) -> ExperimentConfig:
    """The experiment of a preset at a data set's size."""
    return apply_settings(sized_config(dataset, preset), {"name": name, "seed": seed})


@contextmanager
def listening(console: Console) -> Iterator[Listener | None]:
    """A progress bar in a terminal; elsewhere a line an epoch of every run would drown the others."""
    if not console.is_terminal:
        yield None
        return
    with ProgressBar(console) as bar:
        yield bar


def _make_points(base: ExperimentConfig, grid: Mapping[str, Sequence[Any]], root: Path) -> list[_Point]:
    points = []
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        folder = ",".join(f"{path}={value}" for path, value in sorted(chosen.items()))
        points.append(_Point(chosen, apply_settings(base, chosen), root / folder))
    return points


def _train_all(points: Sequence[_Point], dataset: PreparedDataset, console: Console) -> _Point:
    """Train every point, or go on with it, and return the best on validation; one that diverges is out."""
    qualities: dict[int, float] = {}
    diverged: NonFiniteLoss | None = None
    for number, point in enumerate(points):
        if len(points) > 1:
            console.print(f"    {point.workdir.name}", highlight=False, markup=False)
        try:
            qualities[number] = _train(point, dataset, console)
        except NonFiniteLoss as error:
            diverged = error
    if diverged is not None and not qualities:
        raise diverged
    return points[max(qualities, key=lambda number: qualities[number])]


def _train(point: _Point, dataset: PreparedDataset, console: Console) -> float:
    """The validation nDCG@100 of a point's best epoch."""
    with listening(console) as listener:
        records = fit(point.config, dataset, point.workdir, listener=listener).records
    return max(record[f"validation/{SELECTION_METRIC}"] for record in records)


def _measure(trained: TrainedModel, point: _Point, dataset: PreparedDataset) -> Outcome:
    validation, test = (
        make_run_evaluator(trained.run, dataset, split=split).evaluate(trained.score, trained.params)
        for split in ("validation", "test")
    )
    records = run_folder.read_metrics(trained.run)
    best = records[-1]["best_epoch"]
    chosen = next(record for record in records if record["epoch"] == best)[f"validation/{SELECTION_METRIC}"]
    check_reproduced(validation, chosen, workdir=point.workdir)
    config = to_dict(point.config)
    return Outcome(
        validation,
        test,
        train_seconds=sum(record["train_seconds"] for record in records),
        parameters=count_parameters(trained.params),
        settings={
            "best_epoch": best,
            "chosen": point.settings,
            "config": {name: config[name] for name in config if name not in ("name", "seed", "workdir", "data")},
        },
    )


def check_reproduced(validation: UserMetrics, chosen: float, *, workdir: Path) -> None:
    """Refuse to report a model that has not what it had when it was chosen.

    Args:
      validation: of the model.
      chosen: the mean that it was chosen for.
      workdir: its run folder.

    Raises:
      FloatingPointError: they differ by more than rounding.
    """
    measured = validation.summary(SELECTION_METRIC).mean
    if not math.isclose(measured, chosen, rel_tol=_ROUNDING):
        raise FloatingPointError(
            f"the validation {SELECTION_METRIC} must be the one that the model was chosen for, {chosen:.4f}, got "
            f"{measured:.4f}: one of them was computed wrong (seen where many processes shared a GPU) or the "
            f"checkpoint is damaged; run again to measure anew, or delete {workdir} to train anew"
        )


def count_parameters(params: Mapping[str, Any]) -> int:
    """Numbers that a model's scores are computed from."""
    return sum(leaf.size for name in _SCORING for leaf in jax.tree.leaves(params[name]))
