"""Settings of a config by path, such as `{"pia.weight": 0.5}`: put in place and checked, or found."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from piavae_jax.config.checks import validate
from piavae_jax.config.schema import OF_THE_MACHINE, OF_THE_RUN, ExperimentConfig
from piavae_jax.errors import UserError


def get_field(config: ExperimentConfig, path: str) -> Any:
    """The value of a field.

    Raises:
      UserError: the config has no such field.
    """
    value: Any = config
    for name in path.split("."):
        if name not in getattr(value, "__dict__", {}):
            raise UserError(f"{path} is no field of the config; the fields are in piavae_jax/config/schema.py")
        value = getattr(value, name)
    return value


def apply_settings(config: ExperimentConfig, settings: Mapping[str, Any]) -> ExperimentConfig:
    """A copy of a config with other values of some fields, validated.

    Raises:
      UserError: there is no such field, or a value breaks its rule.
    """
    changed = copy.deepcopy(config)
    for path, value in settings.items():
        get_field(changed, path)
        holder, _, name = path.rpartition(".")
        setattr(get_field(changed, holder) if holder else changed, name, value)
    return validate(changed)


def differences(config: ExperimentConfig, base: ExperimentConfig) -> dict[str, Any]:
    """By path, the values of a config that `base` has otherwise.

    What says which run it is, on what machine and how it is measured is left to `base`: `schema.OF_THE_RUN` and
    `schema.OF_THE_MACHINE`. But for these, `apply_settings(base, differences(config, base))` is the config.
    """
    return {path: value for path, value in _values(config) if get_field(base, path) != value}


def _values(part: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(part):
        path, value = f"{prefix}{field.name}", getattr(part, field.name)
        if path in OF_THE_RUN or path in OF_THE_MACHINE:
            continue
        if dataclasses.is_dataclass(value):
            yield from _values(value, f"{path}.")
        else:
            yield path, value
