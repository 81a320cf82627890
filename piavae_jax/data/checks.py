"""Rules that several settings share."""

from piavae_jax.errors import UserError


def check_count(name: str, value: int, *, minimum: int, maximum: int | None = None) -> None:
    """Raise a `UserError` unless `value` is an integer of at least `minimum`, and of at most `maximum` where given."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < minimum or (maximum is not None and value > maximum):
        bounds = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise UserError(f"{name} must be an integer {bounds}, got {value!r}")


def check_legacy_seed(seed: int) -> None:
    """Raise a `UserError` unless NumPy's legacy generator takes the seed."""
    check_count("seed", seed, minimum=0, maximum=2**32 - 1)


def check_fraction(name: str, value: float) -> None:
    """Raise a `UserError` unless 0 <= `value` < 1."""
    if not 0.0 <= value < 1.0:
        raise UserError(f"{name} must be at least 0 and less than 1, got {value!r}")
