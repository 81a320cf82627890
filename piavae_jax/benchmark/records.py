"""What a folder of a benchmark keeps of one run: its outcome, or why there is none."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from piavae_jax.benchmark.system import Outcome, System
from piavae_jax.data.json_files import read_json, write_json
from piavae_jax.errors import UserError
from piavae_jax.evaluation import UserMetrics, read_user_metrics, write_user_metrics

OUTCOME, FAILURE = "outcome.json", "failure.json"


class Record(NamedTuple):
    """One run of a system, done or failed."""

    system: str
    label: str
    family: str
    seed: int
    seconds: float
    """Wall-clock seconds of all of it: search, training, evaluation."""
    outcome: Outcome | None
    """None for a run that failed."""
    error: str
    """Why it failed; empty for a run that is done."""
    baseline: str = ""
    """The system that this one is a variant of, if it is one."""


def run_path(root: Path, system: str, seed: int) -> Path:
    """The folder of a run."""
    return root / system / f"seed-{seed}"


def is_done(folder: Path) -> bool:
    """Whether a run has an outcome; it is written last."""
    return (folder / OUTCOME).is_file()


def write_outcome(folder: Path, system: System, seed: int, outcome: Outcome, *, seconds: float) -> None:
    """Write each user's values as Parquet and, when they are there, the rest as JSON, which marks the run as done."""
    for split in ("validation", "test"):
        write_user_metrics(getattr(outcome, split), _users_file(folder, split))
    summary = {
        **_identity(system, seed),
        "validation": _summarize(outcome.validation),
        "test": _summarize(outcome.test),
        "train_seconds": outcome.train_seconds,
        "parameters": outcome.parameters,
        "seconds": seconds,
        "settings": outcome.settings,
    }
    write_json(folder / OUTCOME, summary)
    (folder / FAILURE).unlink(missing_ok=True)


def write_failure(folder: Path, system: System, seed: int, error: str, *, seconds: float) -> None:
    """Write why a run has no outcome; it is tried again when the benchmark goes on."""
    write_json(folder / FAILURE, {**_identity(system, seed), "error": error, "seconds": seconds})


def read_records(root: Path) -> list[Record]:
    """All runs of a benchmark that are done or have failed, by system and seed.

    A folder that was given another name, to keep what it holds from a new run, is none of them.

    Raises:
      UserError: a file is damaged.
    """
    found = {path.parent for name in (OUTCOME, FAILURE) for path in root.glob(f"*/seed-*/{name}")}
    records = [(folder, read_record(folder)) for folder in found]
    named = [record for folder, record in records if folder == run_path(root, record.system, record.seed)]
    return sorted(named, key=lambda record: (record.system, record.seed))


def read_record(folder: Path) -> Record:
    """One run that is done or has failed.

    Raises:
      UserError: a file is damaged.
    """
    done = is_done(folder)
    path = folder / (OUTCOME if done else FAILURE)
    values = read_json(path)
    try:
        return Record(
            **{name: values[name] for name in ("system", "label", "family", "seed", "seconds")},
            outcome=_read_outcome(folder, values) if done else None,
            error="" if done else values["error"],
            baseline=values.get("baseline", ""),
        )
    except KeyError as error:
        raise UserError(f"{path} is damaged (it has no {error}): remove its folder to run it again") from error


def _read_outcome(folder: Path, values: dict[str, Any]) -> Outcome:
    return Outcome(
        validation=read_user_metrics(_users_file(folder, "validation")),
        test=read_user_metrics(_users_file(folder, "test")),
        **{name: values[name] for name in ("train_seconds", "parameters", "settings")},
    )


def _users_file(folder: Path, split: str) -> Path:
    return folder / f"{split}_users.parquet"


def _identity(system: System, seed: int) -> dict[str, Any]:
    return {
        "system": system.name,
        "label": system.label,
        "family": system.family,
        "baseline": system.baseline,
        "seed": seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _summarize(metrics: UserMetrics) -> dict[str, Any]:
    return {
        "users": int(np.count_nonzero(metrics.num_target > 0)),
        "users_without_targets": int(np.count_nonzero(metrics.num_target == 0)),
        **{
            label: {"mean": summary.mean, "standard_error": summary.standard_error}
            for label, summary in metrics.summaries().items()
        },
    }
