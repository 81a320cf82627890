"""Checks of what a model is built from; private to this package."""

from collections.abc import Mapping

from piavae_jax.config import PRECISIONS
from piavae_jax.errors import UserError


def require_sizes(sizes: Mapping[str, int]) -> None:
    """Raise UserError unless every size, by its name, is positive."""
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"{name} must be at least 1, got {size}")


def require_precision(precision: str) -> None:
    """Raise UserError unless there is such a precision."""
    if precision not in PRECISIONS:
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}; the default is float32")
