"""Files of recommendations: each appears whole, with what was counted on the way in its own footer."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from piavae_jax.errors import UserError

_KEY = "piavae_jax"
_ROW_GROUP = 250_000


class Counts(NamedTuple):
    """What a part, or a whole job, has gone through."""

    users: int = 0
    popular_users: int = 0
    """Users without a known item, who got the popular list."""
    interactions: int = 0
    """Distinct ones of known items."""
    unknown_interactions: int = 0
    """Those dropped because the model does not know the item."""
    recommendations: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """The sums."""
        return Counts(*(one + two for one, two in zip(self, other, strict=True)))


class PartWriter:
    """Writes one part's tables to a hidden file, which `commit` moves to its place."""

    def __init__(self, staged: Path, file: Path) -> None:
        self._staged, self._file = staged, file
        self._waiting: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None
        self._written = 0

    def write(self, table: pl.DataFrame) -> None:
        """Add recommendations; they reach the file in row groups."""
        self._waiting.append(_to_arrow(table))
        if sum(waiting.num_rows for waiting in self._waiting) >= _ROW_GROUP:
            self._flush()

    def commit(self, counts: Counts) -> None:
        """Complete the file and put it in its place; there must have been a table, empty or not."""
        self._flush()
        assert self._writer is not None, "a part has at least an empty table"
        counts = counts._replace(recommendations=self._written)
        self._writer.add_key_value_metadata({_KEY: json.dumps(counts._asdict())})
        self.close()
        with self._staged.open("rb") as file:
            os.fsync(file.fileno())
        self._staged.replace(self._file)
        pa.default_memory_pool().release_unused()  # else what is kept for later grows from part to part

    def close(self) -> None:
        """Let go of the hidden file."""
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        self._waiting.clear()
        if self._writer is None:
            names = [name for name in table.schema.names if name != "score"]
            self._writer = pq.ParquetWriter(
                self._staged, table.schema, compression="snappy", use_dictionary=names, store_schema=False
            )
        self._writer.write_table(table, row_group_size=2 * _ROW_GROUP)
        self._written += table.num_rows


def _to_arrow(table: pl.DataFrame) -> pa.Table:
    """A table of recommendations in types that every reader of Parquet has."""
    return table.with_columns(pl.col("source").cast(pl.String)).to_arrow(compat_level=pl.CompatLevel.oldest())


def read_counts(files: Iterable[Path]) -> Counts:
    """The sums of some parts' counts, from their footers.

    Raises:
      UserError: a file is damaged.
    """
    total = Counts()
    for file in files:
        try:
            metadata = pq.read_metadata(file).metadata[_KEY.encode()]
            total = total.plus(Counts(**json.loads(metadata)))
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise UserError(f"{file} is damaged ({error}); delete it and repeat the command") from error
    return total
