"""What a person sees of a search between two trials."""

from collections.abc import Mapping, Sequence
from typing import Any

from piavae_jax.tuning.records import FAILED, FINISHED, PRUNED, RUNNING, TrialRecord, best_record


def format_value(value: Any) -> str:
    """A setting in a few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def describe_settings(settings: Mapping[str, Any]) -> str:
    """Settings as `pia.weight=0.5  pia.patience=10`."""
    return "  ".join(f"{path}={format_value(value)}" for path, value in settings.items())


def describe_start(number: int, settings: Mapping[str, Any], *, target: int) -> str:
    """A trial that is about to run."""
    return f"trial {number} ({number + 1} of {max(target, number + 1)})  {describe_settings(settings)}"


def describe_progress(records: Sequence[TrialRecord], number: int, *, target: int, seconds_each: float) -> str:
    """What came of a trial, the best so far, and how long the remaining ones will take.

    Args:
      records: of all trials, best first.
      number: the trial that has ended.
      target: how many trials there will be.
      seconds_each: mean time of a trial in this process.
    """
    best, (ended,) = best_record(records), [record for record in records if record.number == number]
    others = sum(record.state == RUNNING for record in records)
    remaining = max(target - len(records), 0) + others
    parts = [_describe_end(ended)]
    if best is not None:
        parts.append(f"best {best.quality:.4f} (trial {best.number})")
    if remaining:
        parts.append(f"about {_format_seconds(seconds_each * remaining / (1 + others))} left")
    return "  " + ", ".join(parts)


def _describe_end(record: TrialRecord) -> str:
    if record.quality is None:
        return f"{record.state} in its first epoch"
    words = {FINISHED: "after", PRUNED: "when pruned after", FAILED: "and then a failure after"}
    return f"nDCG@100 {record.quality:.4f} {words[record.state]} {record.epochs} epochs"


def _format_seconds(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
