"""Systems that fuse trained models with a linear one, and a factor model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
from rich.console import Console

from piavae_jax.benchmark.linear import chosen_settings
from piavae_jax.benchmark.neural import RUN, check_reproduced, config_of, count_parameters, listening
from piavae_jax.benchmark.records import is_done, run_path
from piavae_jax.benchmark.system import Outcome, System
from piavae_jax.config import ExperimentConfig, apply_settings, differences, to_dict
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.training import run_folder
from piavae_jax.training.ensemble import FusedResult, fit_fused
from piavae_jax.training.results import make_run_evaluator

_FACTOR_FIELDS = {
    "dim": "factor_dim",
    "regularization": "factor_regularization",
    "unobserved_weight": "factor_unobserved_weight",
}
"""Fields of `FusionConfig`, by the setting of the baseline."""


def fused(
    name: str,
    label: str,
    *,
    presets: Sequence[str],
    linear: str,
    factors: str | None = None,
    members: int = 1,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> System:
    """Build a system that adds the scores of one preset's members, or of several presets', and of other models.

    The linear model is the best of its grid on the validation users, as the factor model is; then the members are
    trained, unless the benchmark has trained them as a system of their own, and the weights, and the shares of several
    presets, are chosen on the same users.

    Args:
      name: of the system.
      label: for tables.
      presets: of the members, among `presets.PRESETS`.
      linear: `ease`, `edlae` or `edlae_weighted`, a key of `BASELINES`.
      factors: `wmf`, or none.
      members: models of each preset that differ by their seed.
      settings: values by config path that differ from `sized_config`.
    """

    def run(dataset: PreparedDataset, folder: Path, seed: int, console: Console) -> Outcome:
        root = folder.parents[1]
        chosen = chosen_settings(linear, dataset, root)
        console.print(f"    {linear}  {', '.join(f'{key} {value:g}' for key, value in chosen.items())}")
        fusion = {"linear": linear.removesuffix("_weighted"), "members": members, **chosen}
        if factors is not None:
            found = chosen_settings(factors, dataset, root)
            console.print(f"    {factors}  {', '.join(f'{key} {value:g}' for key, value in found.items())}")
            fusion |= {"factors": factors, **{_FACTOR_FIELDS[key]: value for key, value in found.items()}}
        # Members of two seeds of the system must not be the same models.
        own, *others = (
            apply_settings(config_of(dataset, preset, name=name, seed=seed * members), settings) for preset in presets
        )
        fusion["others"] = tuple(differences(other, own) for other in others)
        config = apply_settings(own, {f"fusion.{field}": value for field, value in fusion.items()})
        seeds = range(config.seed, config.seed + members)
        folders = [run_path(root, preset, seed) for preset in presets for seed in seeds]
        trained = [folder / RUN for folder in folders if is_done(folder)]
        with listening(console) as listener:
            result = fit_fused(config, dataset, folder / RUN, listener=listener, trained=trained)
        return _measure(result, config, dataset)

    needs = (linear, *presets) if factors is None else (linear, factors, *presets)
    return System(name, label, seeds=True, family="fusion", run=run, needs=needs)


def _measure(result: FusedResult, config: ExperimentConfig, dataset: PreparedDataset) -> Outcome:
    validation, test = (
        make_run_evaluator(result.run, dataset, split=split).evaluate(result.score, result.params)
        for split in ("validation", "test")
    )
    if result.choices:
        best = max(choice.metric for choice in result.choices)
        check_reproduced(validation, best, workdir=result.run.path)
    records = [record for member in result.members for record in run_folder.read_metrics(member.run)]
    others = sum(leaf.size for leaf in jax.tree.leaves((result.params.linear, result.params.factors)))
    values = to_dict(config)
    return Outcome(
        validation,
        test,
        train_seconds=sum(record["train_seconds"] for record in records) + result.linear_seconds,
        parameters=others + sum(count_parameters(member) for member in result.params.members),
        settings={
            "weight": float(result.params.weight),
            "factor_weight": float(result.params.factor_weight or 0),
            "shares": [] if result.params.shares is None else result.params.shares.tolist(),
            "validation": [choice._asdict() for choice in result.choices],
            "config": {name: values[name] for name in values if name not in ("name", "seed", "workdir", "data")},
        },
    )
