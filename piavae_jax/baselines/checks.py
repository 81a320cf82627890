"""Rules that settings of baselines share."""

import math

from piavae_jax.errors import UserError


def check_positive(name: str, value: float, *, example: float) -> None:
    """Raise a `UserError` unless `value` is a finite number above zero."""
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"{name} must be positive and finite, got {value!r}; pass e.g. {example}")


def check_not_negative(name: str, value: float, *, example: float) -> None:
    """Raise a `UserError` unless `value` is a finite number of at least zero."""
    if not (math.isfinite(value) and value >= 0):
        raise UserError(f"{name} must be at least 0 and finite, got {value!r}; pass e.g. {example}")


def check_dim(dim: int, shape: tuple[int, int]) -> None:
    """Raise a `UserError` unless U x I rows can have as many as `dim` features."""
    if dim > min(shape):
        raise UserError(f"dim must be at most the {min(shape)} users or items of the data, got {dim}; pass fewer")
