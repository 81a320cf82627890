"""Evaluate trained runs on held-out users and compare them: what `bin/evaluate.py` does."""

from collections.abc import Sequence
from os.path import commonprefix
from pathlib import Path

from rich.console import Console

from piavae_jax.config import apply_settings
from piavae_jax.data.prepared import PreparedDataset, load_prepared
from piavae_jax.errors import UserError
from piavae_jax.evaluation import (
    PAPER_GROUPS,
    UserGroup,
    UserMetrics,
    average_runs,
    compare,
    comparisons_table,
    groups_table,
    systems_table,
)
from piavae_jax.training.restore import TrainedModel, restore
from piavae_jax.training.results import evaluate_popularity, make_run_evaluator, write_results
from piavae_jax.training.run_folder import RunFolder
from piavae_jax.training.session import metric_labels

POPULARITY = "popularity"


def evaluate_runs(
    workdirs: Sequence[Path],
    *,
    against: Sequence[Path] = (),
    data: Path | None = None,
    split: str = "test",
    groups: Sequence[UserGroup] = PAPER_GROUPS,
    metrics: Sequence[str] = (),
    console: Console,
) -> None:
    """Evaluate runs, write each one's results into its folder, show tables.

    Args:
      workdirs: runs of one system, such as the seeds of a config.
      against: runs of the system to compare it with, if any; users are paired.
      data: a prepared data set; by default the one that the first run was trained on.
      split: `validation` or `test`.
      groups: ranges of history length for the table by user group.
      metrics: labels such as `ndcg@10`; by default those of each run's config, which must then be the same.
      console: where to print.

    Raises:
      UserError: a folder is no run, or runs and data do not belong together.
    """
    folders = [*workdirs, *against]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError(f"run folders must differ, got {', '.join(map(str, folders))}; name each once")
    trained = [_measured_by(restore(workdir), metrics) for workdir in folders]
    measured = {metric_labels(model.run.config) for model in trained}
    if len(measured) > 1:
        raise UserError(
            "runs that are compared must have one config.evaluation.metrics, got "
            f"{' and '.join(','.join(labels) for labels in sorted(measured))}; name them with --metrics"
        )
    dataset = load_data_of(trained[0].run, data)
    systems, popularity = _evaluate(trained, dataset, split)
    names = list(systems)
    console.print(systems_table({**systems, POPULARITY: popularity}, title=f"{split} users of {dataset.name}"))
    averaged = _average(systems, len(workdirs))
    if len(averaged) < len(systems):
        console.print(systems_table(averaged, title="each user's mean over the runs of a system"))
    if against:
        comparisons = compare(averaged, baseline=list(averaged)[1])
        title = "paired over users: 95 % bootstrap interval, t-test"
        console.print(comparisons_table(comparisons, title=title))
    console.print(groups_table(averaged, groups, title="by number of interactions"))
    for model, name in zip(trained, names, strict=True):
        folder = write_results(model.run, systems[name], dataset, split=split)
        console.print(f"written to  {folder}", highlight=False, markup=False)


def _measured_by(trained: TrainedModel, metrics: Sequence[str]) -> TrainedModel:
    if not metrics:
        return trained
    config = apply_settings(trained.run.config, {"evaluation.metrics": tuple(metrics)})
    return trained._replace(run=trained.run._replace(config=config))


def load_data_of(run: RunFolder, path: Path | None = None) -> PreparedDataset:
    """Load the data set that a run was trained on, or the one at `path`; raises UserError where there is none."""
    if path is None:
        path = Path(run.config.data.path)
        if not path.is_dir():
            raise UserError(f"{path}, the data of {run.path}, is not there; name a prepared data set with --data")
    return load_prepared(path)


def _evaluate(
    trained: Sequence[TrainedModel], dataset: PreparedDataset, split: str
) -> tuple[dict[str, UserMetrics], UserMetrics]:
    """Results of the runs by name, or by path where a name is taken, and of popularity."""
    systems: dict[str, UserMetrics] = {}
    for run, score, params in trained:
        evaluator = make_run_evaluator(run, dataset, split=split)
        name = run.config.name if run.config.name not in systems else str(run.path)
        systems[name] = evaluator.evaluate(score, params)
    return systems, evaluate_popularity(run, evaluator)


def _average(systems: dict[str, UserMetrics], count: int) -> dict[str, UserMetrics]:
    """Each user's mean over the first `count` runs and, if there are any, over the others."""
    averaged: dict[str, UserMetrics] = {}
    for runs in (list(systems)[:count], list(systems)[count:]):
        if runs:
            name = _system_name(runs)
            averaged[f"{name}, baseline" if name in averaged else name] = average_runs([systems[run] for run in runs])
    return averaged


def _system_name(runs: Sequence[str]) -> str:
    """What the names of a system's runs have in common."""
    if len(runs) == 1:
        return runs[0]
    shared = commonprefix(list(runs)).rstrip("-_")  # noqa: RUF071  names, not paths
    return f"{shared or runs[0]} ({len(runs)} runs)"
