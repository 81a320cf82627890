"""What studies may ask for."""

import importlib.util

from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.study import Need
from piavae_jax.analysis.subject import ANALYSABLE
from piavae_jax.training.run_folder import read_metrics
from piavae_jax.training.snapshots import FOLDER as SNAPSHOTS


def _no_runs(material: Material) -> str:
    return "" if material.runs else "it needs trained runs: pass run folders with --workdir"


def _no_posterior(material: Material) -> str:
    for run in material.runs.values():
        if run.config.fusion.fuses:
            return f"{run.path} fuses several models and has no latent space: pass one of the runs in its members/"
        if run.config.model.name not in ANALYSABLE:
            return (
                f"{run.path} is a {run.config.model.name}, which has no single Gaussian posterior: pass runs of "
                f"{', '.join(ANALYSABLE)}"
            )
    return _no_runs(material)


def _no_snapshots(material: Material) -> str:
    for run in material.runs.values():
        recorded = {str(record["epoch"]) for record in read_metrics(run)}
        if sum(path.name in recorded for path in (run.path / SNAPSHOTS).glob("*")) < 2:
            return (
                f"{run.path} has no parameters of several epochs: train it with "
                "--config.training.snapshot_epochs=10, or another number"
            )
    return _no_posterior(material)


def _no_benchmark(material: Material) -> str:
    return (
        "" if material.benchmark else "it needs a benchmark: pass a folder that bin/benchmark.py wrote as --benchmark"
    )


def _no_sensitivity(material: Material) -> str:
    if material.sensitivity:
        return ""
    return (
        "it needs a search over pia.weight, pia.patience and pia.scale: pass the folder of "
        "bin/tune.py --space sensitivity --sampler grid as --sensitivity"
    )


def _no_scikit_learn(_: Material) -> str:
    if importlib.util.find_spec("sklearn") is not None:
        return ""
    return "it needs scikit-learn: install it with: pip install 'piavae-jax[analysis]'"


RUNS = Need("a run", _no_runs)
SNAPSHOT_SERIES = Need("runs with snapshots", _no_snapshots)
POSTERIOR = Need("runs with a Gaussian posterior", _no_posterior)
BENCHMARK = Need("--benchmark", _no_benchmark)
SENSITIVITY = Need("--sensitivity", _no_sensitivity)
SCIKIT_LEARN = Need("scikit-learn", _no_scikit_learn)
