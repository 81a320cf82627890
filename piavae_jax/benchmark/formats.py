"""Numbers as people read them in tables."""

import math

from piavae_jax.evaluation import MetricSummary, format_summary

_NAMES = {"ndcg": "nDCG", "recall": "Recall"}


def metric_title(label: str) -> str:
    """Such as "nDCG@100" for "ndcg@100"."""
    name, _, cutoff = label.partition("@")
    return f"{_NAMES.get(name, name)}@{cutoff}"


def format_score(value: float, *, sign: bool = False) -> str:
    """A value between -1 and 1, such as ".4197" or, with a sign, "+.0160"; "-" for NaN."""
    if math.isnan(value):
        return "-"
    return f"{value:{'+' if sign else ''}.4f}".replace("0.", ".", 1)


def format_mean(summary: MetricSummary) -> str:
    """Mean ± standard error, such as ".4197 ± .0069"."""
    return format_summary(summary).replace("0.", ".")


def format_seconds(seconds: float) -> str:
    """Such as "< 0.1 s", "0.4 s", "12 s", "3 min" or "2.5 h"."""
    if seconds < 0.1:
        return "< 0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"


def format_count(count: int) -> str:
    """Such as "3,497" or "4.66 M"."""
    return f"{count:,}" if count < 1_000_000 else f"{count / 1e6:,.2f} M"


def format_p(value: float) -> str:
    """Such as ".0312" or "< .0001"."""
    return "< .0001" if value < 0.0001 else format_score(value)
