"""Any table of interactions: CSV, TSV or Parquet, scanned lazily.

The columns in use are checked once, in one streaming pass of constant memory. After that the file is read whenever
the events are collected, and of its columns only those that are collected.
"""

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from piavae_jax.data.interactions import Interactions
from piavae_jax.data.readers.columns import Column, convert_ids, convert_ratings, convert_timestamps, is_integer
from piavae_jax.data.readers.members import existing
from piavae_jax.errors import UserError


def read_table(
    path: str | Path,
    *,
    user_column: str,
    item_column: str,
    rating_column: str | None = None,
    timestamp_column: str | None = None,
    separator: str | None = None,
) -> Interactions:
    """Read a table with one row for each interaction.

    Args:
      path: a CSV or TSV file with a header (also gzipped), a Parquet file, or a folder of Parquet files, which are
        read in the order of their paths, those in subfolders included.
      user_column: ids of users, integers or strings.
      item_column: ids of items, integers or strings.
      rating_column: finite numbers: ratings, weights or counts.
      timestamp_column: Unix seconds, or dates or times (in text: ISO 8601), in UTC unless they name an offset.
      separator: what stands between the fields of a text file; None takes a tab for `.tsv` and `.tab`, else a comma.

    Returns:
      `user` and `item` as in the Parquet file, or from text: Int64 if all are integers without leading zeros, else
      String; `rating` Float32; `timestamp` Int64, Unix seconds rounded down. Rows in which all columns in use are
      empty, such as blank lines, are left out.

    Raises:
      UserError: if the file is missing, empty or unreadable, or a column is missing or holds a value of another kind.
    """
    source = _open(existing(path), separator)
    roles = {"user": user_column, "item": item_column, "rating": rating_column, "timestamp": timestamp_column}
    used = {role: column for role, column in roles.items() if column is not None}
    with source.readable():
        _check_names(source, used)
        table = _select(source.scan, used | source.sentinel())
        columns = {role: _convert(source.path, table, role) for role in used}
        facts = _check(source, table, columns)
    events = _select(source.typed(_types(used, facts)), used)
    if facts["blank"]:
        events = events.filter(pl.col("user").is_not_null())
    values = {role: column.value for role, column in columns.items()}
    return Interactions(events.select(**values), None, source=f"table {source.path.name}")


@dataclass(frozen=True)
class _Source:
    path: Path
    scan: pl.LazyFrame
    """All columns; those of text as strings."""
    separator: str | None = None
    """None for Parquet."""

    def typed(self, types: Mapping[str, type[pl.DataType]]) -> pl.LazyFrame:
        """Like `scan`, with columns of text parsed to `types`."""
        return self.scan if self.separator is None else _scan_text(self.path, self.separator, types)

    def sentinel(self) -> dict[str, str]:
        """The last column of text: polars refuses lines with too many fields only where it parses that one."""
        return {} if self.separator is None else {"end": self.scan.collect_schema().names()[-1]}

    @contextmanager
    def readable(self) -> Iterator[None]:
        try:
            yield
        except pl.exceptions.NoDataError as error:
            raise UserError(f"{self.path} is empty: check that it is the right file") from error
        except (pl.exceptions.PolarsError, OSError) as error:
            line = None if self.separator is None else _first_long_line(self.path, self.separator)
            reason = str(error).split("\n", 1)[0] if line is None else f"line {line:,} has more fields than the header"
            raise UserError(f"{self.path} cannot be read ({reason}): check the file and its format") from error


def _open(path: Path, separator: str | None) -> _Source:
    if path.is_dir() or path.suffix in (".parquet", ".pq"):
        files = table_files(path)
        partitioned = any("=" in part for file in files for part in file.relative_to(path).parent.parts)
        scan = pl.scan_parquet(
            files,
            glob=False,
            hive_partitioning=partitioned,
            extra_columns="ignore",  # that later parts have; which are read, the first says
            cast_options=pl.ScanCastOptions(integer_cast="upcast"),
        )
        return _Source(path, scan)
    if separator is None:
        separator = "\t" if {".tsv", ".tab"} & set(path.suffixes) else ","
    if len(separator.encode()) != 1:
        raise UserError(f"separator must be one character of one byte, got {separator!r}: convert the file first")
    return _Source(path, _scan_text(path, separator, {}), separator)


def _scan_text(path: Path, separator: str, types: Mapping[str, type[pl.DataType]]) -> pl.LazyFrame:
    return pl.scan_csv(path, separator=separator, infer_schema=False, schema_overrides=dict(types), glob=False)


def table_files(path: Path) -> list[Path]:
    """The files that `read_table` reads for a path, in order: none in folders of jobs that go on, `_temporary` or so.

    Raises:
      UserError: it is a folder without Parquet files.
    """
    if path.is_file():
        return [path]
    found = (file for file in path.rglob("*") if file.suffix in (".parquet", ".pq"))
    files = sorted(file for file in found if not any(part[0] in "._" for part in file.relative_to(path).parts))
    if not files:
        raise UserError(f"{path} is a folder without .parquet files: give a file, or a folder of Parquet files")
    return files


def _check_names(source: _Source, used: Mapping[str, str]) -> None:
    found = source.scan.collect_schema().names()
    missing = [column for column in used.values() if column not in found]
    if missing:
        names = ", ".join(map(repr, found))
        raise UserError(f"{source.path} has no column {missing[0]!r}: it has {names}; name one, or the separator")
    if len(set(used.values())) < len(used):
        raise UserError(f"a column can have one role, got {', '.join(f'{k}={v!r}' for k, v in used.items())}")


def _select(table: pl.LazyFrame, used: Mapping[str, str]) -> pl.LazyFrame:
    return table.select(**{role: pl.col(column) for role, column in used.items()})


def _convert(path: Path, table: pl.LazyFrame, role: str) -> Column:
    dtype = table.collect_schema()[role]
    if role == "timestamp":
        first = table.select(role).drop_nulls().head(1).collect(engine="streaming")
        column = convert_timestamps(role, dtype, sample=str(first.item()) if first.height else None)
    else:
        column = convert_ratings(role, dtype) if role == "rating" else convert_ids(role, dtype)
    if column is None:
        raise UserError(f"{path}: a column of type {dtype} cannot be the {role}s: convert it or choose another")
    return column


def _check(source: _Source, table: pl.LazyFrame, columns: Mapping[str, Column]) -> dict[str, Any]:
    """Refuse invalid values; count the blank rows, and tell which ids in text are all integers."""
    filled = pl.any_horizontal(pl.col(*columns).is_not_null())
    text_ids = ("user", "item") if source.separator else ()
    facts = table.select(
        filled.sum().alias("rows"),
        (~filled).sum().alias("blank"),
        *((column.valid | ~filled).all().alias(f"{role} valid") for role, column in columns.items()),
        *((is_integer(role) | ~filled).all().alias(f"{role} integer") for role in text_ids),
        *(pl.col(role).null_count() for role in source.sentinel()),
    )
    fact = facts.collect(engine="streaming").row(0, named=True)
    if not fact["rows"]:
        raise UserError(f"{source.path} has no rows: check that it is the right file")
    for role, column in columns.items():
        if not fact[f"{role} valid"]:
            raise UserError(
                _first_misfit(source, table.with_row_index("row").filter(filled & ~column.valid), role, column)
            )
    return fact


def _first_misfit(source: _Source, misfits: pl.LazyFrame, role: str, column: Column) -> str:
    row, value = misfits.select("row", role).head(1).collect().row(0)
    # The first row of text is line 2, after the header.
    place = f"line {row + 2:,}" if source.separator else f"row {row + 1:,}"
    return f"{source.path}, {place}: the {role} must be {column.rule}, got {value!r}: mend or remove such rows"


def _types(used: Mapping[str, str], facts: Mapping[str, Any]) -> dict[str, type[pl.DataType]]:
    """What polars can parse at once, three times faster than by way of strings."""
    types: dict[str, type[pl.DataType]] = {
        used[role]: pl.Int64 for role in ("user", "item") if facts.get(f"{role} integer")
    }
    return types | ({used["rating"]: pl.Float32} if "rating" in used else {})


def _first_long_line(path: Path, separator: str) -> int | None:
    """Number of the first line with more fields than the header; polars says only that there is one."""
    if path.suffix == ".gz":
        return None
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        lines = csv.reader(file, delimiter=separator)
        width = len(next(lines, []))
        return next((lines.line_num for fields in lines if len(fields) > width), None)
