"""Bringing together what the command line names, once it is known to belong together."""

from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from piavae_jax.analysis.harness.labels import label_runs
from piavae_jax.analysis.harness.material import Material
from piavae_jax.benchmark.folder import read_info
from piavae_jax.data.prepared import PreparedDataset, load_prepared
from piavae_jax.errors import UserError
from piavae_jax.training import run_folder
from piavae_jax.training.run_folder import RunFolder, data_digest


class Sources(NamedTuple):
    """What a command line may name."""

    workdirs: tuple[Path, ...] = ()
    data: Path | None = None
    """Where the data of the runs are now; by default where they were."""
    benchmark: Path | None = None
    sensitivity: Path | None = None


def gather(sources: Sources, *, seed: int, console: Console) -> Material:
    """Read the folders and check that they belong together; no model is restored.

    Raises:
      UserError: nothing is named, a folder is none of its kind, or data differ.
    """
    if not (sources.workdirs or sources.benchmark or sources.sensitivity):
        raise UserError("there is nothing to analyse: pass runs with --workdir, or --benchmark, or --sensitivity")
    runs = _load_runs(sources.workdirs)
    if sources.sensitivity is not None:
        _check_search(sources.sensitivity, runs)
    dataset = load_data(sources.data, runs[0]) if runs else None
    if sources.benchmark is not None:
        _check_benchmark(sources.benchmark, runs)
    return Material(label_runs(runs), dataset, sources.benchmark, sources.sensitivity, seed, console)


def data_of(material: Material) -> dict[str, str]:
    """Name and digest of the data that the material is about."""
    if material.runs:
        run = next(iter(material.runs.values()))
        return {"name": run.data_name, "digest": run.data_digest}
    if material.benchmark is not None:
        info = read_info(material.benchmark)["data"]
        return {"name": info["name"], "digest": info["digest"]}
    assert material.sensitivity is not None, "gather() refuses to start from nothing"
    trial = run_folder.load(search_trials(material.sensitivity)[0])
    return {"name": trial.data_name, "digest": trial.data_digest}


def search_trials(root: Path) -> list[Path]:
    """The run folders of a search, by number."""
    return sorted(path for path in root.glob("trial-*") if run_folder.exists(path))


def _load_runs(workdirs: tuple[Path, ...]) -> list[RunFolder]:
    if len({folder.resolve() for folder in workdirs}) < len(workdirs):
        raise UserError(f"run folders must differ, got {', '.join(map(str, workdirs))}; name each once")
    runs = [run_folder.load(workdir) for workdir in workdirs]
    for run in runs[1:]:
        if run.data_digest != runs[0].data_digest:
            raise UserError(
                f"runs must be trained on the same data, got {run.path} on {run.data_name} (digest "
                f"{run.data_digest[:12]}) and {runs[0].path} on {runs[0].data_name} (digest "
                f"{runs[0].data_digest[:12]}); analyse them apart"
            )
    return runs


def load_data(path: Path | None, run: RunFolder) -> PreparedDataset:
    """The data of a run: at `path`, or where they were.

    Raises:
      UserError: they are not there, or are others.
    """
    folder = path or Path(run.config.data.path)
    if path is None and not folder.is_dir():
        raise UserError(f"{folder}, the data of {run.path}, is not there; name a prepared data set with --data")
    dataset = load_prepared(folder)
    if data_digest(dataset) != run.data_digest:
        raise UserError(
            f"{folder} holds other data than {run.path} was trained on, {run.data_name} with the digest "
            f"{run.data_digest[:12]}; pass that data set with --data"
        )
    return dataset


def _check_search(root: Path, runs: list[RunFolder]) -> None:
    trials = search_trials(root)
    if not trials:
        raise UserError(f"{root} holds no search: it has no trial-*; pass a folder that bin/tune.py wrote as --root")
    trial = run_folder.load(trials[0])
    if runs and trial.data_digest != runs[0].data_digest:
        raise UserError(
            f"{root} is a search on other data ({trial.data_name}) than {runs[0].path} ({runs[0].data_name}); "
            "analyse them apart"
        )


def _check_benchmark(root: Path, runs: list[RunFolder]) -> None:
    info = read_info(root)["data"]
    if runs and info["digest"] != runs[0].data_digest:
        raise UserError(
            f"{root} is a benchmark on other data ({info['name']}) than {runs[0].path} ({runs[0].data_name}); "
            "analyse them apart"
        )
