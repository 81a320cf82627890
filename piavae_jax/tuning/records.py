"""What is known of each trial of a study."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from optuna.trial import FrozenTrial, TrialState

from piavae_jax.tuning.spaces import Space

FINISHED, PRUNED, RUNNING, FAILED = "finished", "pruned", "running", "failed"
_STATES = {
    TrialState.COMPLETE: FINISHED,
    TrialState.PRUNED: PRUNED,
    TrialState.RUNNING: RUNNING,
    TrialState.FAIL: FAILED,
}


class TrialRecord(NamedTuple):
    """A trial, whatever became of it."""

    number: int
    """From 0, in the order of drawing."""
    state: str
    """`finished`, `pruned`, `running`, or `failed`: it diverged, or its settings cannot go together."""
    settings: Mapping[str, Any]
    """Values by field."""
    quality: float | None
    """Validation nDCG@100 of its best epoch so far; None before the first."""
    best_epoch: int | None
    epochs: int
    """Epochs run."""


def trial_folder(number: int) -> str:
    """The name of a trial's run folder."""
    return f"trial-{number:03}"


def best_first(trials: Sequence[FrozenTrial], space: Space) -> list[TrialRecord]:
    """The records of trials that have begun: finished ones, best first, then the others by state."""
    order = list(_STATES.values())
    records = [_record(trial, space) for trial in trials if trial.state in _STATES]
    return sorted(records, key=lambda record: (order.index(record.state), -(record.quality or 0.0), record.number))


def _record(trial: FrozenTrial, space: Space) -> TrialRecord:
    best_so_far = trial.intermediate_values
    quality = max(best_so_far.values(), default=None)
    return TrialRecord(
        number=trial.number,
        state=_STATES[trial.state],
        settings={path: entry.value(trial.params[path]) for path, entry in space.items() if path in trial.params},
        quality=quality,
        best_epoch=min((epoch for epoch, value in best_so_far.items() if value == quality), default=None),
        epochs=max(best_so_far, default=0),
    )


def best_record(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The best finished trial of records that are best first."""
    return records[0] if records and records[0].state == FINISHED else None
