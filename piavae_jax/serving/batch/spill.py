"""A log in any order, laid out on disk by parts of users, so that whole histories are read a part at a time.

The log is read once, in chunks. Each chunk is ordered by part and appended to one file, an Arrow record batch a part;
an index says where each begins. So memory holds one chunk, then one part, however long the log is, and no part needs a
file of its own. The file is read, not mapped: the pages of all chunks would add up.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa

from piavae_jax.data.atomic import new_folder
from piavae_jax.serving.histories import Histories, group
from piavae_jax.serving.items import ItemIndex, as_ids

CHUNK_ROWS = 1_000_000
_ROWS, _INDEX = "rows.arrow", "index.npz"
_SEED = 0


def encode(chunk: pl.DataFrame, *, items: ItemIndex, parts: int) -> tuple[pl.Series, np.ndarray, np.ndarray]:
    """What a part's histories are made of.

    Args:
      chunk: columns `user` and `item`, n rows.
      items: the model's.
      parts: number of parts.

    Returns:
      The users' ids; uint16[n], the part of each: a hash of the id, which is stable for one version of polars; and
      int32[n], the item's index or `UNKNOWN`.

    Raises:
      UserError: an id is null or of a type other than the model's.
    """
    users = as_ids(chunk["user"], "user")
    return users, (users.hash(_SEED) % parts).cast(pl.UInt16).to_numpy(), items.encode(chunk["item"])


def to_histories(rows: pl.DataFrame) -> Histories:
    """Whole histories, by ascending id, of a part's rows: `user`, and `item` as an index, in any order."""
    distinct = rows.select(pl.col("user").unique().sort())
    codes = rows.join(distinct.with_row_index("code"), on="user", how="left", maintain_order="left")["code"]
    return group(distinct["user"], codes.to_numpy().astype(np.int64), rows["item"].to_numpy())


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
    read, schema = 0, None
    sizes, rows = [np.empty((0, parts), np.int32)], [np.empty((0, parts), np.int32)]
    with new_folder(folder, overwrite=True, marker=_INDEX) as staging:
        with pa.OSFile(str(staging / _ROWS), "wb") as file:
            for chunk in events.collect_batches(chunk_size=chunk_rows, maintain_order=False):
                table, part_rows = _by_part(chunk, items=items, parts=parts, own=own)
                sizes.append(_append(file, table, part_rows)[None, :])
                rows.append(part_rows[None, :])
                schema, read = table.schema, read + chunk.height
                listener(read)
        assert schema is not None, "a log has rows"
        np.savez(
            staging / _INDEX,
            sizes=np.concatenate(sizes),
            rows=np.concatenate(rows),
            own=own,
            schema=np.frombuffer(schema.serialize(), np.uint8),
        )


def _by_part(chunk: pl.DataFrame, *, items: ItemIndex, parts: int, own: np.ndarray) -> tuple[pa.Table, np.ndarray]:
    """The rows of one's own parts, part by part, and int32[parts], how many each has."""
    users, part, indices = encode(chunk, items=items, parts=parts)
    order = np.argsort(part, kind="stable")  # a radix sort
    if not own.all():
        order = order[own[part[order]]]
    table = pl.DataFrame({"user": users.gather(order), "item": indices[order]})
    arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    return arrow, np.bincount(part[order], minlength=parts).astype(np.int32)


def _append(file: pa.NativeFile, table: pa.Table, part_rows: np.ndarray) -> np.ndarray:
    """int32[parts], bytes that the rows of each part take."""
    sizes = np.zeros(len(part_rows), np.int32)
    first = np.cumsum(part_rows) - part_rows
    for part in np.flatnonzero(part_rows):
        (batch,) = table.slice(first[part], part_rows[part]).to_batches()
        sizes[part] = file.write(batch.serialize())
    return sizes


class Spill:
    """A log laid out by `write_spill`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _ROWS
        with np.load(folder / _INDEX) as index:
            self._sizes, self._rows, self._own = index["sizes"], index["rows"], index["own"]
            self._schema = pa.ipc.read_schema(pa.py_buffer(index["schema"].tobytes()))
        ends = np.cumsum(self._sizes, dtype=np.int64).reshape(self._sizes.shape)
        self._offsets = ends - self._sizes

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
        pieces = [self._schema.empty_table()]
        with pa.OSFile(str(self._file)) as file:
            for chunk in np.flatnonzero(self._rows[:, part]):
                file.seek(int(self._offsets[chunk, part]))
                buffer = file.read_buffer(int(self._sizes[chunk, part]))
                pieces.append(pa.Table.from_batches([pa.ipc.read_record_batch(buffer, self._schema)]))
        rows = pl.from_arrow(pa.concat_tables(pieces))
        assert isinstance(rows, pl.DataFrame)
        return to_histories(rows)
