"""Phrases with numbers in them that several studies say."""

from piavae_jax.benchmark.formats import format_score
from piavae_jax.evaluation import Comparison


def say_difference(row: Comparison) -> str:
    """Such as "+.0147 (+.0050 to +.0249)"."""
    return f"{say_signed(row.difference)} ({say_signed(row.low)} to {say_signed(row.high)})"


def say_signed(value: float) -> str:
    """Such as "+.0147"."""
    return format_score(value, sign=True)
