"""Materials of the tests' own."""

import io

from rich.console import Console

from piavae_jax.analysis.harness.labels import label_runs
from piavae_jax.analysis.harness.material import Material
from piavae_jax.training import run_folder


def quiet_console():
    return Console(file=io.StringIO(), width=160)


def make_material(paths=(), dataset=None, *, benchmark=None, sensitivity=None):
    runs = label_runs([run_folder.load(path) for path in paths])
    return Material(runs, dataset, benchmark, sensitivity, 0, quiet_console())
