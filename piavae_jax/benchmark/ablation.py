"""One model and its variants, each of which differs from it in what a file says.

A file declares them, and `bin/benchmark.py --ablation FILE` runs them:

    from piavae_jax.benchmark.ablation import Ablation

    def get_ablation():
        return Ablation(
            "multvae_pia",
            {
                "a mask per user": {"mask.kind": "per_user"},
                "beta .05": {"kl.cap": 0.05},
            },
        )

Where the model itself is to differ from the benchmark's own, say in size, it gets a name and settings, which its
variants share: `Ablation("warpvae_pia", variants, name="200 dimensions", settings={"model.latent_dim": 200})`.
"""

import itertools
import json
import re
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from piavae_jax.benchmark.neural import RUN, neural
from piavae_jax.benchmark.records import read_records
from piavae_jax.benchmark.registry import SYSTEMS
from piavae_jax.benchmark.sized_config import sized_config
from piavae_jax.benchmark.system import System
from piavae_jax.config import ExperimentConfig, apply_settings, to_dict
from piavae_jax.config.schema import OF_THE_RUN
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.errors import UserError
from piavae_jax.presets import PRESETS
from piavae_jax.training import run_folder


class Ablation(NamedTuple):
    """A model, and what is varied, one thing at a time."""

    preset: str
    """The model that all are compared with: one of `presets.PRESETS`, with the settings that fit the data's size."""
    variants: Mapping[str, Mapping[str, Any]]
    """By name, such as "beta .05", values by config path, such as `{"kl.cap": 0.05}`."""
    name: str = ""
    """What tells the model from the preset; none where it is the preset."""
    settings: Mapping[str, Any] = MappingProxyType({})
    """By which the model, and so each variant, differs from the preset; none without a name."""


def read_ablation(file: Path) -> Ablation:
    """What `get_ablation()` of a Python file returns.

    Raises:
      UserError: there is no such file or function, it fails, or returns something else.
    """
    if not file.is_file():
        raise UserError(f"--ablation must name a Python file, got {file}: configs/ablation_multvae.py is one")
    try:
        declare = runpy.run_path(str(file)).get("get_ablation")
        ablation = None if declare is None else declare()
    except Exception as error:  # the user's file raises what it likes
        raise UserError(f"{file} failed: {type(error).__name__}: {error}; correct it") from error
    if not isinstance(ablation, Ablation):
        raise UserError(f"{file} must have get_ablation() that returns an Ablation, got {ablation!r}; correct it")
    if not isinstance(ablation.variants, Mapping) or not all(map(_is_variant, ablation.variants.items())):
        raise UserError(f"{file} must map names of variants to values by config path, got {ablation.variants!r}")
    if not _is_variant((ablation.name, ablation.settings)) or bool(ablation.name) != bool(ablation.settings):
        raise UserError(
            f"{file} must have both a name for the model and settings, values by config path, or neither, got "
            f"{ablation.name!r} and {ablation.settings!r}"
        )
    return ablation


def _is_variant(item: tuple[Any, Any]) -> bool:
    name, settings = item
    return isinstance(name, str) and isinstance(settings, Mapping) and all(isinstance(path, str) for path in settings)


def ablation_systems(ablation: Ablation, dataset: PreparedDataset) -> list[System]:
    """The model and its variants as systems; a model without a name is the benchmark's own, so that either runs once.

    Raises:
      UserError: the preset or a setting is unknown, or two variants cannot be told apart.
    """
    preset = ablation.preset
    if preset not in PRESETS or preset not in SYSTEMS:
        known = ", ".join(system for system in SYSTEMS if system in PRESETS)
        raise UserError(f"the preset of an ablation must be one of {known}, got {preset!r}")
    systems = {} if ablation.name else {preset: SYSTEMS[preset]}
    for title, settings in _titled(ablation):
        try:
            _check_settings(settings)
            apply_settings(sized_config(dataset, preset), settings)
        except UserError as error:
            raise UserError(f'the variant "{title}" cannot be: {error}') from error
        folder = _folder(preset, title)
        if folder in systems or not _slug(title):
            raise UserError(
                f"the names of variants, of which folders are named, must differ in their letters a-z and digits, got "
                f'"{title}"' + (" after one like it" if folder in systems else ", which has none")
            )
        label, family = f"{SYSTEMS[preset].label}, {title}", SYSTEMS[preset].family
        systems[folder] = neural(folder, label, family=family, preset=preset, settings=settings)
    base, *variants = systems.values()
    return [base, *(variant._replace(baseline=base.name) for variant in variants)]


def _titled(ablation: Ablation) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What tells each model, if it is not the preset, and each variant from the preset, in words and in settings."""
    if ablation.name:
        yield ablation.name, ablation.settings
    for variant, settings in ablation.variants.items():
        yield ", ".join(filter(None, (ablation.name, variant))), {**ablation.settings, **settings}


def _check_settings(settings: Mapping[str, Any]) -> None:
    for path in settings:
        if path.partition(".")[0] in OF_THE_RUN:
            raise UserError(f"it must leave {path} to the benchmark; leave it out")


def check_unchanged(ablation: Ablation, dataset: PreparedDataset, root: Path) -> None:
    """Refuse a variant that has been run, to its end or not, with other settings than it has now.

    Raises:
      UserError: the first that differs.
    """
    done = {record.system: record.outcome for record in read_records(root) if record.outcome is not None}
    for title, settings in _titled(ablation):
        system = _folder(ablation.preset, title)
        outcome = done.get(system)
        before = [outcome.settings["config"]] if outcome is not None else []
        before += [
            _as_json(run_folder.load(path.parent).config) for path in root.glob(f"{system}/seed-*/{RUN}/run.json")
        ]
        now = _as_json(apply_settings(sized_config(dataset, ablation.preset), settings))
        for part, values in itertools.chain.from_iterable(config.items() for config in before):
            if part in OF_THE_RUN or not isinstance(values, Mapping):
                continue
            for field, value in values.items():
                if now[part].get(field) != value:
                    raise UserError(
                        f'the variant "{title}" was run with {part}.{field}={value!r}, now it has '
                        f"{now[part].get(field)!r}: give it another name, or remove {root / system}"
                    )


def _as_json(config: ExperimentConfig) -> dict[str, Any]:
    """As it is read from a file: tuples are lists."""
    return json.loads(json.dumps(to_dict(config)))


def _folder(preset: str, title: str) -> str:
    return f"{preset}-{_slug(title)}"


def _slug(title: str) -> str:
    """What a folder can be named."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
