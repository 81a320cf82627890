"""Rules that several settings share."""

from piavae_jax.errors import UserError


def check_count(name: str, value: int, *, minimum: int) -> None:
    """Raise a `UserError` unless `value` is an integer of at least `minimum`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise UserError(f"{name} must be an integer of at least {minimum}, got {value!r}")


def check_fraction(name: str, value: float) -> None:
    """Raise a `UserError` unless 0 <= `value` < 1."""
    if not 0.0 <= value < 1.0:
        raise UserError(f"{name} must be at least 0 and less than 1, got {value!r}")
