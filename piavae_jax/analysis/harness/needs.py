"""What studies may ask for."""

from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.study import Need
from piavae_jax.analysis.subject import ANALYSABLE
from piavae_jax.training.fusion import fuses


def _no_runs(material: Material) -> str:
    return "" if material.runs else "it needs trained runs: pass run folders with --workdir"


def _fewer_than_two(material: Material) -> str:
    count = len(material.runs)
    return "" if count > 1 else f"it compares runs, and needs two or more, got {count}: pass more with --workdir"


def _no_posterior(material: Material) -> str:
    for run in material.runs.values():
        if fuses(run.config):
            return f"{run.path} fuses several models and has no latent space: pass one of the runs in its members/"
        if run.config.model.name not in ANALYSABLE:
            return (
                f"{run.path} is a {run.config.model.name}, which has no single Gaussian posterior: pass runs of "
                f"{', '.join(ANALYSABLE)}"
            )
    return _no_runs(material)


def _no_anchors(material: Material) -> str:
    if any(run.config.pia.enabled for run in material.runs.values()):
        return _no_posterior(material)
    return "it needs item anchors, which only runs with PIA have: add one to --workdir"


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


RUNS = Need("a run", _no_runs)
TWO_RUNS = Need("two runs", _fewer_than_two)
POSTERIOR = Need("runs with a Gaussian posterior", _no_posterior)
ANCHORS = Need("a run with PIA", _no_anchors)
BENCHMARK = Need("--benchmark", _no_benchmark)
SENSITIVITY = Need("--sensitivity", _no_sensitivity)
