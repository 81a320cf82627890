"""External item ids and the indices that a model knows them by."""

from collections.abc import Iterable

import numpy as np
import polars as pl

from piavae_jax.errors import UserError

UNKNOWN = -1


class ItemIndex:
    """The vocabulary of a run, looked up in both directions."""

    def __init__(self, ids: pl.Series) -> None:
        self.ids = ids.alias("item")
        self._indices = pl.DataFrame({"item": self.ids}).with_row_index("index")

    def __len__(self) -> int:
        return len(self.ids)

    def encode(self, items: pl.Series) -> np.ndarray:
        """int32, the index of each id; `UNKNOWN` where the vocabulary lacks it.

        Raises:
          UserError: an id is null, or the ids are of another type than the vocabulary's.
        """
        wanted = pl.DataFrame({"item": as_ids(items, "item", like=self.ids.dtype)})
        joined = wanted.join(self._indices, on="item", how="left", maintain_order="left")
        return joined["index"].cast(pl.Int32).fill_null(UNKNOWN).to_numpy()

    def encode_known(self, items: Iterable[object], *, name: str) -> np.ndarray:
        """int32, distinct and ascending, of ids that must all be known; `name` is what errors call them.

        Raises:
          UserError: as `encode`, or for the first id that the vocabulary lacks.
        """
        ids = series_of(items, name)
        if ids.is_empty():
            return np.empty(0, np.int32)
        indices = self.encode(ids)
        if (indices == UNKNOWN).any():
            missing = ids[int(np.argmax(indices == UNKNOWN))]
            raise UserError(f"{name} must hold items that the model was trained on, got {missing!r}: leave it out")
        return np.unique(indices)


def series_of(values: Iterable[object], name: str) -> pl.Series:
    """Ids in any container as a series of one type.

    Raises:
      UserError: it is a text or no container, or its values are of several types.
    """
    if isinstance(values, pl.Series):
        return values
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise UserError(f"{name} must be a list of ids, got {values!r}: put it in a list")
    values = values if isinstance(values, np.ndarray | list) else list(values)
    try:
        return pl.Series(name, values, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{name} must hold ids of one type, integers or strings: {_first_line(error)}") from error


def as_ids(values: pl.Series, name: str, *, like: pl.DataType | None = None) -> pl.Series:
    """Ids as Int64 or String.

    Args:
      values: the ids.
      name: what errors call them, `user` or `item`.
      like: the type that they must have; None allows both.

    Raises:
      UserError: an id is null, or of another type.
    """
    if values.null_count():
        row = int(values.is_null().arg_max() or 0)
        raise UserError(f"{name} ids must not be null, got {values.null_count():,} (first: row {row:,}): remove them")
    if values.dtype.is_integer():
        ids = _as_int64(values, name)
    elif values.dtype in (pl.String, pl.Categorical, pl.Enum):
        ids = values.cast(pl.String)
    elif values.is_empty():
        return values.cast(like or pl.Int64, strict=False)
    else:
        raise UserError(f"{name} ids must be integers or strings, got {values.dtype}: convert them")
    if like is not None and ids.dtype != like:
        raise UserError(f"{name} ids must be {like} as the model's are, got {values.dtype}: convert them")
    return ids


def _as_int64(values: pl.Series, name: str) -> pl.Series:
    try:
        return values.cast(pl.Int64)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{name} ids must be below 2^63, got {values.max()!r}: use strings") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
