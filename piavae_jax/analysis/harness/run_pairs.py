"""Which runs a study compares with which."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from flax.traverse_util import flatten_dict

from piavae_jax import config as configs
from piavae_jax.training.run_folder import FREE_FIELDS, RunFolder

_IGNORED = frozenset((*FREE_FIELDS, "name", "seed"))


class Pair(NamedTuple):
    """A run and what it is compared with, by label."""

    system: str
    baseline: str
    is_pia: bool
    """Whether PIA is all that the system has and the baseline lacks."""


def pairs_of(runs: Mapping[str, RunFolder]) -> list[Pair]:
    """Each run with the first and, where that is another one, each run with PIA with its twin without."""
    labels = list(runs)
    twins = {label: twin_without_pia(label, runs) for label in labels}
    firsts = [Pair(label, labels[0], twins[label] == labels[0]) for label in labels[1:]]
    others = [Pair(label, twin, True) for label, twin in twins.items() if twin is not None]
    return [*firsts, *(pair for pair in others if pair not in firsts)]


def twin_without_pia(label: str, runs: Mapping[str, RunFolder]) -> str | None:
    """The run whose config is that of a run with PIA but for PIA, of several the one of its seed; None where there is
    none."""
    ours = runs[label]
    if not ours.config.pia.enabled:
        return None
    twins = [
        other
        for other, run in runs.items()
        if not run.config.pia.enabled and _without_pia(settings_of(run)) == _without_pia(settings_of(ours))
    ]
    return min(twins, key=lambda other: runs[other].config.seed != ours.config.seed, default=None)


def settings_of(run: RunFolder) -> dict[str, Any]:
    """The fields of a run's config that distinguish systems: neither name nor seed nor how it was run."""
    flat = flatten_dict(configs.to_dict(run.config), sep=".")
    return {path: value for path, value in flat.items() if path not in _IGNORED}


def _without_pia(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in settings.items() if not path.startswith("pia.")}
