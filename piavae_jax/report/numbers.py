"""Numbers as the page has them: a true minus sign, and no line break before a per cent sign."""

from piavae_jax.benchmark.formats import format_score


def score(value: float, *, sign: bool = False) -> str:
    """A value between -1 and 1, such as ".4173" or "−.0039"; "–" for NaN."""
    text = format_score(value, sign=sign)
    return "–" if text == "-" else text.replace("-", "−")


def percent(value: float, digits: int = 0, *, sign: bool = False) -> str:
    """Such as "3.3 %" for .033."""
    return f"{100 * value:{'+' if sign else ''}.{digits}f}\u00a0%".replace("-", "−")


def interval(low: float, high: float, *, sign: bool = False) -> str:
    """Such as ".4035 to .4310"."""
    return f"{score(low, sign=sign)} to {score(high, sign=sign)}"
