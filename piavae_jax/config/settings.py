"""Settings of a config by path, such as `{"pia.weight": 0.5}`, put in place and checked."""

import copy
from collections.abc import Mapping
from typing import Any

from piavae_jax.config.checks import validate
from piavae_jax.config.schema import ExperimentConfig
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
