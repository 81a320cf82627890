"""Each user's values as a table and as a Parquet file, with external user ids."""

import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from piavae_jax.errors import UserError
from piavae_jax.evaluation.results import UserMetrics

USER_COLUMN, INPUT_COLUMN, TARGET_COLUMN = "user_id", "n_input", "n_target"


def to_frame(metrics: UserMetrics) -> pl.DataFrame:
    """A row for each user: `user_id`, `n_input`, `n_target`, each metric (null for a user without held-out items)."""
    columns = {label: pl.Series(values).fill_nan(None) for label, values in metrics.values.items()}
    counts = {INPUT_COLUMN: metrics.num_input, TARGET_COLUMN: metrics.num_target}
    return pl.DataFrame({USER_COLUMN: metrics.users, **counts, **columns})


def from_frame(frame: pl.DataFrame) -> UserMetrics:
    """Undo `to_frame`.

    Raises:
      UserError: if a column is missing or of another type, there is no metric, or users repeat.
    """
    labels = [name for name in frame.columns if name not in (USER_COLUMN, INPUT_COLUMN, TARGET_COLUMN)]
    _check_columns(frame, labels)
    return UserMetrics(
        users=frame[USER_COLUMN],
        num_input=frame[INPUT_COLUMN].to_numpy(),
        num_target=frame[TARGET_COLUMN].to_numpy(),
        values={label: frame[label].cast(pl.Float64).fill_null(np.nan).to_numpy() for label in labels},
    )


def _check_columns(frame: pl.DataFrame, labels: list[str]) -> None:
    required = (USER_COLUMN, INPUT_COLUMN, TARGET_COLUMN)
    if any(name not in frame.columns for name in required) or not labels:
        raise UserError(f"per-user results need the columns {', '.join(required)} and a metric, got {frame.columns}")
    for name in (INPUT_COLUMN, TARGET_COLUMN, *labels):
        if not frame.schema[name].is_numeric():
            raise UserError(
                f'per-user results need numbers in column "{name}", got {frame.schema[name]}: drop or cast it'
            )
    if frame[USER_COLUMN].n_unique() < frame.height:
        raise UserError(f"per-user results need each {USER_COLUMN} once, got repeats: keep one row a user")


def write_user_metrics(metrics: UserMetrics, path: Path | str) -> None:
    """Write `to_frame` as Parquet; `path` appears whole or keeps what it held."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as staging:
        staged = Path(staging) / path.name
        to_frame(metrics).write_parquet(staged)
        staged.replace(path)


def read_user_metrics(path: Path | str) -> UserMetrics:
    """Read what `write_user_metrics` wrote.

    Raises:
      UserError: if the file is missing or is no such table.
    """
    try:
        frame = pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path} cannot be read as per-user results ({error}): pass a file of evaluate") from error
    return from_frame(frame)
