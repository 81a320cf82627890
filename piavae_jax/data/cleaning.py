"""From a raw interaction log to distinct positive events."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import polars as pl

from piavae_jax.data.events import Events, present, renumber
from piavae_jax.data.interactions import Interactions
from piavae_jax.data.manifest import RawCounts
from piavae_jax.data.window import Window, print_time
from piavae_jax.errors import UserError


def clean(
    interactions: Interactions,
    *,
    min_rating: float | None = None,
    window: Window = Window(),  # noqa: B008 - immutable
    timestamps: bool = False,
) -> Events:
    """Check a log, keep its positive events once each, and code users and items as integers.

    Args:
      interactions: the log.
      min_rating: lowest rating that counts as positive, itself included; None takes every row. The "> 3.5" of
        Liang et al. (2018) on half stars is 4 here, as is their "play count > 0" 1.
      window: the times to keep; all by default.
      timestamps: whether to keep the event times.

    Returns:
      The positive events of the window, of each (user, item) pair the first in file order.

    Raises:
      UserError: for missing columns or values, ratings that are negative or not finite, unreadable rows, or when
        nothing is left.
    """
    schema = _schema(interactions)
    _check_columns(schema, interactions.source, min_rating=min_rating, window=window, timestamps=timestamps)
    table = _collect(interactions, schema, timestamps=timestamps or not window.everything)
    _check_values(table, interactions.source)
    raw = RawCounts(_count_distinct(table["user"]), _count_distinct(table["item"]), rows=table.height)
    positive = _positive(table, min_rating)
    num_positive = raw.rows if positive is None else int(positive.sum())
    if not num_positive:
        raise UserError(
            f"{interactions.source}: none of {raw.rows:,} rows has a rating of {min_rating} or more: lower it"
        )
    kept = _within(window, table, positive, interactions.source)
    users = _take(table, "user", kept)
    items = _take(table, "item", kept)
    user_ids, user_codes = _encode(users)
    item_ids, item_codes = _encode(items)
    events = Events(
        users=user_codes,
        items=item_codes,
        user_ids=user_ids,
        item_ids=item_ids,
        timestamps=_take(table, "timestamp", kept).to_numpy() if timestamps else None,
        titles=interactions.titles,
        raw=raw,
        source=interactions.source,
        parameters={"min_rating": min_rating, **window.parameters()},
        dropped={"below_min_rating": raw.rows - num_positive}
        | ({} if window.everything else {"outside_window": num_positive - len(user_codes)}),
    )
    return _distinct(events)


def _schema(interactions: Interactions) -> pl.Schema:
    with _readable(interactions.source):
        return interactions.events.collect_schema()


def _check_columns(
    schema: pl.Schema, source: str, *, min_rating: float | None, window: Window, timestamps: bool
) -> None:
    wanted = {
        "user": True,
        "item": True,
        "rating": min_rating is not None,
        "timestamp": timestamps or not window.everything,
    }
    without_time = "use a protocol without time" if timestamps else "name one, or leave out since and until"
    for column, needed in wanted.items():
        if needed and column not in schema:
            way_out = {"rating": "leave out min_rating", "timestamp": without_time}.get(column)
            raise UserError(f"{source} has no {column} column" + (f": {way_out}" if way_out else ""))
    for column in ("user", "item"):
        if not (schema[column].is_integer() or isinstance(schema[column], pl.String | pl.Categorical | pl.Enum)):
            raise UserError(f"{source}: {column} ids must be integers or strings, got {schema[column]}")


def _collect(interactions: Interactions, schema: pl.Schema, *, timestamps: bool) -> pl.DataFrame:
    columns: list[pl.Expr] = [pl.col("user"), pl.col("item")]
    if "rating" in schema:
        columns.append(pl.col("rating").cast(pl.Float32))
    if timestamps:
        columns.append(pl.col("timestamp").cast(pl.Int64))
    # A string is kept once for each distinct id, not for each row: 4 bytes a row instead of up to 56.
    strings = [
        pl.col(name).cast(pl.Categorical(pl.Categories.random()))
        for name in ("user", "item")
        if schema[name] == pl.String
    ]
    with _readable(interactions.source):
        table = interactions.events.select(columns).with_columns(strings).collect(engine="streaming")
    if table.is_empty():
        raise UserError(f"{interactions.source} has no rows: check that it is the right file")
    for name in ("user", "item"):
        if table.schema[name] in (pl.UInt64, pl.Int128, pl.UInt128):
            ids = table[name].cast(pl.Int64, strict=False)
            too_large = ids.is_null() & table[name].is_not_null()
            _refuse(too_large, interactions.source, f"{name} ids beyond 64-bit signed integers", "make them strings")
            table = table.with_columns(ids)
    return table


@contextmanager
def _readable(source: str) -> Iterator[None]:
    """Readers are lazy, so a malformed file shows only when polars collects it."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        first_line = str(error).strip().split("\n", 1)[0]
        raise UserError(f"{source} cannot be read ({first_line}): check the file and its format") from error


def _check_values(table: pl.DataFrame, source: str) -> None:
    for column in table.columns:
        _refuse(table[column].is_null(), source, f"rows without {column}")
    if "rating" in table.columns:
        rating = table["rating"]
        _refuse(~rating.is_finite(), source, "ratings that are NaN or infinite")
        _refuse(rating < 0, source, "negative ratings")


def _refuse(bad: pl.Series, source: str, what: str, way_out: str = "mend or remove them") -> None:
    number = bad.sum()
    if number:
        first = int(bad.arg_max() or 0) + 1
        raise UserError(f"{source} has {what} ({number:,}, the first is data row {first:,}): {way_out}")


def _positive(table: pl.DataFrame, min_rating: float | None) -> pl.Series | None:
    return None if min_rating is None else table["rating"] >= min_rating


def _within(window: Window, table: pl.DataFrame, positive: pl.Series | None, source: str) -> pl.Series | None:
    """Which rows are positive and lie in the window; None for all."""
    if window.everything:
        return positive
    times = table["timestamp"]
    kept = pl.Series(window.contains(times.to_numpy()))
    if positive is not None:
        kept &= positive
    if not kept.any():
        first, last = (print_time(int(time)) for time in (times.min(), times.max()))  # type: ignore[arg-type]
        raise UserError(
            f"{source}: no positive row lies in the window {window}, its times run from {first} to {last}: widen it"
        )
    return kept


def _take(table: pl.DataFrame, column: str, positive: pl.Series | None) -> pl.Series:
    series = table.drop_in_place(column)  # frees the full column: 160 MB for 20 million integers
    return series if positive is None else series.filter(positive)


def _encode(column: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """Distinct ids in ascending order, and int32 codes that index them."""
    if column.dtype.is_integer():
        ids, codes = _encode_integers(column.to_numpy())
        return pl.Series(ids).cast(pl.Int64), codes
    distinct = column.unique()
    names = distinct.cast(pl.String)
    by_name = names.arg_sort()
    physical = distinct.to_physical().gather(by_name).to_numpy()
    code_of = np.zeros(int(physical.max()) + 1, np.int32)
    code_of[physical] = np.arange(len(physical), dtype=np.int32)
    return names.gather(by_name), code_of[column.to_physical().to_numpy()]


def _encode_integers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not _is_dense(values):
        ids = pl.Series(values).unique().sort().to_numpy()
        return ids, np.searchsorted(ids, values).astype(np.int32)
    ids = present(values)
    return ids, renumber(ids, size=int(ids[-1]) + 1)[values]


def _count_distinct(column: pl.Series) -> int:
    if column.dtype.is_integer() and _is_dense(values := column.to_numpy()):
        return len(present(values))
    return column.n_unique()


def _is_dense(values: np.ndarray) -> bool:
    """Whether a table of all ids up to the largest is small; looking up is then many times faster than searching."""
    return values.min() >= 0 and values.max() < len(values)


def _distinct(events: Events) -> Events:
    pairs = events.users.astype(np.int64)
    pairs *= len(events.item_ids)
    pairs += events.items
    if np.all(pairs[1:] > pairs[:-1]):  # as in the MovieLens files
        return events.select(np.ones(len(events), bool), reason="duplicates")
    ordered = np.sort(pairs)  # three times faster than hashing, and repeats are rare
    if np.any(ordered[1:] == ordered[:-1]):
        first = pl.Series(pairs).is_first_distinct().to_numpy()
    else:
        first = np.ones(len(events), bool)
    return events.select(first, reason="duplicates")
