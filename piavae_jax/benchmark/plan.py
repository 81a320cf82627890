"""What a benchmark is asked for, in words that another process understands."""

from pathlib import Path
from typing import NamedTuple

from piavae_jax.benchmark.ablation import Ablation, ablation_systems, read_ablation
from piavae_jax.benchmark.registry import choose_systems
from piavae_jax.benchmark.system import System
from piavae_jax.data.prepared import PreparedDataset, load_prepared


class Plan(NamedTuple):
    """Which systems, on which data, where."""

    data: Path
    """A prepared data set."""
    out: Path
    """The benchmark's folder."""
    models: str
    """Names of systems separated by commas, or "all"."""
    ablation: Path | None = None
    """A file that declares a model and its variants, which are run in place of `models`."""


class Chosen(NamedTuple):
    """What a plan names."""

    dataset: PreparedDataset
    systems: list[System]
    ablation: Ablation | None


def resolve(plan: Plan) -> Chosen:
    """Read the data, and the file of the ablation if there is one.

    Raises:
      UserError: a model or a variant cannot be or cannot be run, or the data cannot be read.
    """
    if plan.ablation is None:
        systems = choose_systems(plan.models)
        for system in systems:
            system.check()
        return Chosen(load_prepared(plan.data), systems, None)
    ablation = read_ablation(plan.ablation)
    dataset = load_prepared(plan.data)
    return Chosen(dataset, ablation_systems(ablation, dataset), ablation)
