"""A log in any order, laid out on disk by parts of users, so that whole histories are read a part at a time.

The log is read once, in chunks. Each chunk is ordered by part and written as one Arrow file, a record batch a part; an
index says how many rows each has. So memory holds one chunk, then one part, however long the log is, and no part needs
a file of its own. Files are read, not mapped: the pages of all chunks would add up.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa

from piavae_jax.data.atomic import new_folder
from piavae_jax.serving.histories import Histories, group
from piavae_jax.serving.items import ItemIndex, as_ids

CHUNK_ROWS = 1_000_000
_INDEX = "index.npz"
_SEED = 0


def part_of(users: pl.Series, parts: int) -> np.ndarray:
    """uint16[n], the part of each user: a hash of the id, which is stable for one version of polars."""
    return (users.hash(_SEED) % parts).cast(pl.UInt16).to_numpy()


def write_spill(
    events: pl.LazyFrame,
    folder: Path,
    *,
    items: ItemIndex,
    parts: int,
    own: np.ndarray,
    chunk_rows: int = CHUNK_ROWS,
    listener: Callable[[int], None] = lambda _: None,
) -> None:
    """Lay out a log by part; the folder appears whole or not at all.

    Args:
      events: columns `user` and `item`, a row for each interaction, in any order.
      folder: the new folder.
      items: the model's; an unknown item is kept as such, to be counted.
      parts: number of parts, at most 2^16.
      own: bool[parts], those that are kept.
      chunk_rows: rows read at a time.
      listener: told the rows read so far.

    Raises:
      UserError: an id is null or of a type other than the model's, or the disk refuses.
    """
    read, rows = 0, [np.empty((0, parts), np.int64)]
    with new_folder(folder, overwrite=True, marker=_INDEX) as staging:
        for chunk in events.collect_batches(chunk_size=chunk_rows, maintain_order=False):
            file = _chunk_file(staging, len(rows) - 1)
            rows.append(_write_chunk(chunk, file, items=items, parts=parts, own=own)[None, :])
            read += chunk.height
            listener(read)
        np.savez(staging / _INDEX, rows=np.concatenate(rows), own=own)


def _write_chunk(chunk: pl.DataFrame, file: Path, *, items: ItemIndex, parts: int, own: np.ndarray) -> np.ndarray:
    """int64[parts], rows of each part."""
    users = as_ids(chunk["user"], "user")
    part, indices = part_of(users, parts), items.encode(chunk["item"])
    order = np.argsort(part, kind="stable")  # a radix sort
    if not own.all():
        order = order[own[part[order]]]
    starts = np.searchsorted(part[order], np.arange(parts + 1))
    table = pl.DataFrame({"user": users.gather(order), "item": indices[order]})
    arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    with pa.ipc.new_file(file, arrow.schema) as writer:
        for first, last in pairwise(starts):
            rows = arrow.slice(first, last - first)
            writer.write_batch(rows.to_batches()[0] if len(rows) else _no_rows(arrow.schema))
    return np.diff(starts)


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)


def _chunk_file(folder: Path, number: int) -> Path:
    return folder / f"chunk-{number:05}.arrow"


class Spill:
    """A log laid out by `write_spill`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with np.load(folder / _INDEX) as index:
            self._rows, self._own = index["rows"], index["own"]

    @classmethod
    def find(cls, folder: Path, own: np.ndarray) -> Self | None:
        """The one that the folder holds, if it is whole and has the parts `own: bool[parts]`."""
        if not (folder / _INDEX).is_file():
            return None
        found = cls(folder)
        return found if found._own[own].all() else None

    def interactions(self, part: int) -> int:
        """Rows of the log that belong to a part."""
        return int(self._rows[:, part].sum())

    def read(self, part: int) -> Histories:
        """The whole histories of a part's users, by ascending id, whatever the order of the log."""
        chunks = np.flatnonzero(self._rows[:, part]) if self._rows[:, part].any() else [0]
        rows = pl.concat([_read_batch(_chunk_file(self._folder, int(chunk)), part) for chunk in chunks])
        distinct = rows.select(pl.col("user").unique().sort())
        codes = rows.join(distinct.with_row_index("code"), on="user", how="left", maintain_order="left")["code"]
        return group(distinct["user"], codes.to_numpy().astype(np.int64), rows["item"].to_numpy())


def _read_batch(file: Path, number: int) -> pl.DataFrame:
    with pa.OSFile(str(file)) as source:
        frame = pl.from_arrow(pa.ipc.open_file(source).get_batch(number))
        assert isinstance(frame, pl.DataFrame)
        return frame
