"""What users have interacted with, in any of the forms that a caller has it in."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl
import scipy  # scipy.sparse loads at its first use

from piavae_jax.data.csr import CSR, from_pairs
from piavae_jax.errors import UserError
from piavae_jax.serving.items import UNKNOWN, ItemIndex, as_ids, series_of

HistoriesLike: TypeAlias = "Histories | Mapping[Any, Iterable[Any]] | pl.DataFrame | pl.LazyFrame | CSR | Any"
"""Whatever `read_histories` reads; the last stands for a SciPy sparse matrix."""


class Histories(NamedTuple):
    """U users and the items that they have interacted with, as the model knows them."""

    users: pl.Series
    """U external ids, Int64 or String, distinct."""
    rows: CSR
    """U rows of item indices; a row may be empty."""
    unknown: np.ndarray
    """int64[U], interactions of each user that were dropped because the vocabulary lacks the item."""


def read_histories(histories: HistoriesLike, items: ItemIndex) -> Histories:
    """Read histories in one of five forms.

    - a mapping of a user id to a list of item ids, which may be empty;
    - a table of polars, pandas, Arrow or any library that has Arrow's C interface, with the columns `user` and `item`,
      a row for each interaction in any order; other columns are ignored;
    - a SciPy sparse matrix [U, I] or a `CSR`, whose columns are item indices and whose users are numbered from 0; any
      stored value but zero is an interaction;
    - `Histories`, as they are.

    Users keep the order of their first appearance. An interaction that is there twice counts once; unknown items are
    dropped and counted.

    Raises:
      UserError: the form is none of these, a column is missing, or an id is null or of a type other than the model's.
    """
    if isinstance(histories, Histories):
        return histories
    if isinstance(histories, Mapping):
        return _from_mapping(histories, items)
    if isinstance(histories, pl.DataFrame | pl.LazyFrame):
        return _from_table(histories.lazy(), items)
    if hasattr(histories, "__arrow_c_stream__"):
        return _from_table(pl.DataFrame(histories).lazy(), items)
    if isinstance(histories, CSR):
        return _from_rows(histories, items)
    if scipy.sparse.issparse(histories):
        return _from_matrix(histories, items)
    raise UserError(
        "histories must be a dict of lists, a table with the columns user and item, a SciPy sparse matrix or a "
        f"CSR, got {type(histories).__name__}: convert them"
    )


def group(users: pl.Series, codes: np.ndarray, indices: np.ndarray) -> Histories:
    """Group interactions by user.

    Args:
      users: U distinct ids.
      codes: int64[nnz], the user of each interaction.
      indices: int32[nnz], its item; `UNKNOWN` is counted and dropped, repeats are dropped.
    """
    known = indices != UNKNOWN
    unknown = np.bincount(codes[~known], minlength=len(users))
    keys = (codes[known].astype(np.int64) << 32) | indices[known]
    keys.sort()
    keys = keys[np.diff(keys, prepend=-1) != 0]
    rows = from_pairs(keys >> 32, keys & (2**32 - 1), num_rows=len(users))
    return Histories(users, rows, unknown)


def _from_mapping(histories: Mapping[Any, Iterable[Any]], items: ItemIndex) -> Histories:
    users = as_ids(series_of(list(histories), "users"), "user")
    lists = [series_of(values, f"items of user {user!r}") for user, values in histories.items()]
    lengths = [len(values) for values in lists]
    encoded = [items.encode(values) for values in _joined(lists)]
    codes = np.repeat(np.arange(len(users), dtype=np.int64), lengths)
    return group(users.alias("user"), codes, np.concatenate([np.empty(0, np.int32), *encoded]))


def _joined(lists: list[pl.Series]) -> list[pl.Series]:
    """Lists of one type as one series: a look-up for each would take most of the time."""
    filled = [values for values in lists if len(values)]
    if len({values.dtype for values in filled}) == 1:
        return [pl.concat([values.alias("item") for values in filled])]
    return filled


def _from_table(table: pl.LazyFrame, items: ItemIndex) -> Histories:
    found = table.collect_schema().names()
    for name in ("user", "item"):
        if name not in found:
            raise UserError(f"histories must have the columns user and item, got {', '.join(found)}: rename them")
    frame = table.select("user", "item").collect()
    users = as_ids(frame["user"], "user")
    distinct = pl.DataFrame({"user": users.unique(maintain_order=True)})
    coded = pl.DataFrame({"user": users}).join(
        distinct.with_row_index("code"), on="user", how="left", maintain_order="left"
    )
    return group(distinct["user"], coded["code"].to_numpy().astype(np.int64), items.encode(frame["item"]))


def _from_matrix(matrix: Any, items: ItemIndex) -> Histories:
    rows = scipy.sparse.csr_array(matrix)
    if rows.shape[1] != len(items):
        raise UserError(
            f"histories must have a column for each of the model's {len(items)} items, got {rows.shape[1]}: "
            "number items as the run's vocabulary does"
        )
    filled = rows.nonzero()
    return _numbered(rows.shape[0], *filled)


def _from_rows(rows: CSR, items: ItemIndex) -> Histories:
    indices = np.asarray(rows.indices)
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(items):
        wrong = indices.max() if indices.min() >= 0 else indices.min()
        raise UserError(f"items of histories must be in 0 to {len(items) - 1}, got {wrong}: use the run's vocabulary")
    return _numbered(rows.num_rows, np.repeat(np.arange(rows.num_rows), rows.lengths), indices)


def _numbered(num_users: int, codes: np.ndarray, indices: np.ndarray) -> Histories:
    users = pl.Series("user", np.arange(num_users, dtype=np.int64))
    return group(users, codes.astype(np.int64), indices.astype(np.int32))
