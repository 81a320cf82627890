"""The compressed NumPy format of `../shared/data`: one array for each column."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from piavae_jax.data.interactions import Interactions
from piavae_jax.data.readers.members import existing
from piavae_jax.errors import UserError

# Parts of a data set share the list of the whole one.
_SHARED_ITEMS = {"ml20m_te20": "ml20m_items.csv", "netflix800": "netflix_items.csv"}
_COLUMNS = ("users", "items", "ratings", "timestamps", "plays")


def read_npz(path: str | Path, *, items_csv: str | Path | None = None) -> Interactions:
    """Read `NAME.npz`.

    Args:
      path: the file. Its arrays, all of one length: `users` and `items` (integers), and optionally `ratings`
        (integers, half stars), `timestamps` (integers, Unix seconds) and `plays` (numbers).
      items_csv: titles, a CSV file with the column `item`; the label is its column `title`, or else its second one.
        None takes `NAME_items.csv` next to `path`, if it is there.

    Returns:
      `user` and `item` as stored, `rating` Float32 (stars, or else plays), `timestamp` Int64.

    Raises:
      UserError: if a file is missing or damaged, or an array is missing or of another kind.
    """
    path = existing(path)
    arrays = _load(path)
    _check(arrays, path)
    columns = {"user": arrays["users"], "item": arrays["items"]}
    if "ratings" in arrays:
        columns["rating"] = arrays["ratings"].astype(np.float32) / 2
    elif "plays" in arrays:
        columns["rating"] = arrays["plays"].astype(np.float32)
    if "timestamps" in arrays:
        columns["timestamp"] = arrays["timestamps"].astype(np.int64)
    events = pl.DataFrame(columns)
    return Interactions(events.lazy(), _titles(path, items_csv, events.schema["item"]), source=path.name)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in _COLUMNS if name in archive}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, AttributeError, TypeError) as error:
        raise UserError(f"{path} is not an intact .npz file ({error}): make or copy it again") from error


def _check(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    missing = [name for name in ("users", "items") if name not in arrays]
    if missing:
        raise UserError(f"{path} has no array {' and '.join(missing)}, found {', '.join(arrays) or 'none'}: add it")
    for name, array in arrays.items():
        kinds = "iuf" if name == "plays" else "iu"
        if array.dtype.kind not in kinds or array.shape != (len(arrays["users"]),):
            raise UserError(
                f"{path}: {name} must hold a {'number' if name == 'plays' else 'whole number'} for each of the "
                f"{len(arrays['users']):,} rows, got {array.dtype} of shape {array.shape}: save it again"
            )
    if not len(arrays["users"]):
        raise UserError(f"{path} has no rows: check that it is the right file")


def _titles(path: Path, items_csv: str | Path | None, dtype: pl.DataType) -> pl.DataFrame | None:
    if items_csv is None:
        default = path.with_name(_SHARED_ITEMS.get(path.stem, f"{path.stem}_items.csv"))
        return _read_titles(default, dtype) if default.exists() else None
    return _read_titles(existing(items_csv), dtype)


def _read_titles(path: Path, dtype: pl.DataType) -> pl.DataFrame:
    try:
        table = pl.read_csv(path, infer_schema=False, glob=False)
        labels = [name for name in table.columns if name != "item"]
        title = "title" if "title" in labels else labels[0]
        return table.select(pl.col("item").cast(dtype), title=title)
    except (pl.exceptions.PolarsError, IndexError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UserError(f"{path} must be a CSV file with the columns item and title ({reason}): mend it") from error
