"""Which runs a study compares with which."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from piavae_jax import config as configs
from piavae_jax.training.run_folder import FREE_FIELDS, RunFolder

_IGNORED = frozenset((*FREE_FIELDS, "name"))


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
    """The run whose config is that of a run with PIA but for PIA; None where there is none."""
    if not runs[label].config.pia.enabled:
        return None
    ours = _settings(runs[label])
    for other, run in runs.items():
        if not run.config.pia.enabled and _settings(run) == ours:
            return other
    return None


def _settings(run: RunFolder) -> dict[str, Any]:
    """What distinguishes trainings, PIA aside."""
    flat = _flatten(configs.to_dict(run.config))
    return {path: value for path, value in flat.items() if path not in _IGNORED and not path.startswith("pia.")}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
