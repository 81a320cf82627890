"""How a column of a general table becomes ids, ratings or times, and which of its values are valid."""

from itertools import product
from typing import NamedTuple

import polars as pl

# A bound on Unix seconds, in the year 5138: numbers above it are milliseconds or finer.
_MAX_SECONDS = 10**11
_TIMES = product("T ", ("%H:%M:%S%.f", "%H:%M"), ("", "Z", " UTC", "%z"))
_ISO_FORMATS = ["%Y-%m-%d", *("%Y-%m-%d" + "".join(parts) for parts in _TIMES)]


class Column(NamedTuple):
    """Two expressions over a raw column."""

    value: pl.Expr
    valid: pl.Expr
    """Boolean, never null."""
    rule: str
    """What a valid value is, for error messages."""


def convert_ids(name: str, dtype: pl.DataType) -> Column | None:
    """Ids as they are, or None for a type that is neither integer nor string."""
    column = pl.col(name)
    if isinstance(dtype, pl.Enum):
        column = column.cast(pl.Categorical)
    elif not dtype.is_integer() and dtype not in (pl.String, pl.Categorical):
        return None
    return Column(column, column.is_not_null(), "an integer or a string")


def is_integer(name: str) -> pl.Expr:
    """Whether a text is an integer as it prints: `7`, but not `007`, which is another id."""
    text = pl.col(name)
    padded = text.str.starts_with("0") & (text.str.len_bytes() > 1)
    signed = text.str.starts_with("+") | text.str.starts_with("-0")
    return (text.cast(pl.Int64, strict=False).is_not_null() & ~padded & ~signed).fill_null(False)


def convert_ratings(name: str, dtype: pl.DataType) -> Column | None:
    """Float32 from numbers or their text, or None for another type."""
    if not (dtype.is_numeric() or dtype == pl.String):
        return None
    value = pl.col(name).cast(pl.Float32, strict=False)
    return Column(value, value.is_finite().fill_null(False), "a finite number")


def convert_timestamps(name: str, dtype: pl.DataType, *, sample: str | None = None) -> Column | None:
    """Int64 Unix seconds, rounded down, or None for a type that is no time.

    Args:
      name: the raw column.
      dtype: its type.
      sample: for text, one of its values; the others must be in the same notation.
    """
    column = pl.col(name)
    if isinstance(dtype, pl.Date | pl.Datetime):
        seconds = column.dt.epoch("s")
    elif dtype.is_integer():
        seconds = column
    elif dtype.is_float():
        seconds = column.floor()
    elif dtype == pl.String:
        seconds = _seconds(column, sample or "")
    else:
        return None
    value = seconds.cast(pl.Int64, strict=False)
    valid = value.is_between(-_MAX_SECONDS, _MAX_SECONDS).fill_null(False)
    return Column(value, valid, "Unix seconds, or an ISO 8601 date or time in the notation of the first row")


def _seconds(text: pl.Expr, sample: str) -> pl.Expr:
    for notation in _ISO_FORMATS:
        if pl.select(pl.lit(sample).str.to_datetime(notation, strict=False)).item() is not None:
            return text.str.to_datetime(notation, strict=False).dt.epoch("s")
    return text.cast(pl.Float64, strict=False).floor()
