"""Configs as nested dictionaries of JSON values, and back."""

import dataclasses
from typing import Any

from piavae_jax.config.schema import ExperimentConfig
from piavae_jax.errors import UserError


def to_dict(config: ExperimentConfig) -> dict[str, Any]:
    """The config as nested dictionaries of JSON values."""
    return dataclasses.asdict(config)


def _from_dict(kind: type, values: Any, prefix: str) -> Any:
    if not isinstance(values, dict):
        raise UserError(f"{f'config.{prefix}'.rstrip('.')} must map fields to values, got {values!r}; correct it")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(values.keys() - fields.keys())
    if unknown:
        raise UserError(f"config has no field {prefix}{unknown[0]}; it has {', '.join(fields)}")
    parsed = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(fields[name].type):
            parsed[name] = _from_dict(fields[name].type, value, f"{prefix}{name}.")  # type: ignore[arg-type]
        else:
            parsed[name] = _with_tuples(value)
    return kind(**parsed)


def _with_tuples(value: Any) -> Any:
    """What JSON has as a list is a tuple in a config."""
    if isinstance(value, dict):
        return {name: _with_tuples(entry) for name, entry in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def from_dict(values: dict[str, Any]) -> ExperimentConfig:
    """Rebuild a config from `to_dict`, refusing unknown fields; raises UserError."""
    return _from_dict(ExperimentConfig, values, "")
