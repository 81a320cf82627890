"""The CSV files of the code published with Liang et al. (2018), which most peers read.

`train.csv`, `validation_tr.csv`, `validation_te.csv`, `test_tr.csv` and `test_te.csv` have the columns `uid` and `sid`,
user and item indices from 0; line n of `unique_sid.txt`, from 0, is the external id of item n. `unique_uid.txt`, the
same for users, is an addition of this library.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from piavae_jax.data.atomic import new_folder
from piavae_jax.data.csr import CSR, from_pairs
from piavae_jax.data.prepared import HeldOut, PreparedDataset, assemble
from piavae_jax.errors import UserError

ITEMS_FILE = "unique_sid.txt"
USERS_FILE = "unique_uid.txt"
_PARTS = ("train", "validation_tr", "validation_te", "test_tr", "test_te")
_SCHEMA = {"uid": pl.Int32, "sid": pl.Int32}


def write_liang_csv(dataset: PreparedDataset, folder: Path | str, *, overwrite: bool = False) -> None:
    """Write the CSV files to `folder`, which appears whole or not at all.

    Raises:
      UserError: if `folder` exists and may not be replaced, or an external id has a line break.
    """
    with new_folder(Path(folder), overwrite=overwrite, marker=ITEMS_FILE) as staging:
        _write_pairs(staging / "train.csv", dataset.train_users, dataset.train)
        for split, part in (("validation", dataset.validation), ("test", dataset.test)):
            _write_pairs(staging / f"{split}_tr.csv", part.users, part.input)
            _write_pairs(staging / f"{split}_te.csv", part.users, part.target)
        _write_ids(staging / ITEMS_FILE, dataset.items["item_id"])
        _write_ids(staging / USERS_FILE, dataset.users["user_id"])


def read_liang_csv(folder: Path | str, *, name: str) -> PreparedDataset:
    """Read the CSV files of a folder; its split is taken as it is.

    A held-out user without any row is not in the files, so no evaluation row stands for that user. Without
    `unique_uid.txt` the external user ids are the indices.

    Raises:
      UserError: if the folder or a file is missing or malformed, an index is out of range, or a pair is repeated.
    """
    folder = Path(folder)
    items = _read_ids(folder / ITEMS_FILE)
    tables = {path: _read_pairs(folder / f"{path}.csv", len(items)) for path in _PARTS}
    _check_distinct(folder, tables)
    num_users = 1 + max(int(uid.max(initial=-1)) for uid, _ in tables.values())
    users = _user_ids(folder / USERS_FILE, num_users)
    train_users, train = _rows(*tables["train"])
    if not len(train_users):
        raise UserError(f"{folder / 'train.csv'} has no rows: a model needs users to train on")
    return assemble(
        name=name,
        source=f"liang_csv {folder.name}",
        protocol="given",
        parameters={},
        seed=None,
        raw=None,
        filtered_items=len(items),
        interactions=sum(len(uid) for uid, _ in tables.values()),
        dropped={},
        train=train,
        train_users=train_users,
        validation=_held_out(tables["validation_tr"], tables["validation_te"]),
        test=_held_out(tables["test_tr"], tables["test_te"]),
        items=pl.DataFrame({"item_id": items, "title": pl.Series([None] * len(items), dtype=pl.String)}),
        users=pl.DataFrame({"user_id": users}),
    )


def _write_pairs(path: Path, users: np.ndarray, rows: CSR) -> None:
    pl.DataFrame({"uid": np.repeat(users, rows.lengths), "sid": rows.indices}, schema=_SCHEMA).write_csv(path)


def _write_ids(path: Path, ids: pl.Series) -> None:
    text = ids.cast(pl.String)
    if text.str.contains(r"[\r\n]").any():
        raise UserError(f"{path.name} has one id a line, but an external id has a line break: rename it first")
    path.write_text("".join(f"{line}\n" for line in text), encoding="utf-8")


def _read_ids(path: Path) -> pl.Series:
    if not path.is_file():
        raise UserError(f"{path} is missing: give a folder with the files of Liang et al., {ITEMS_FILE} among them")
    # Not splitlines, which splits at characters that an id may have; utf-8-sig drops the mark that some editors write.
    lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    ids = pl.Series(lines, dtype=pl.String)
    if lines == [""] or not ids.is_unique().all():
        raise UserError(f"{path} must have one distinct id a line, got {len(ids)} lines, {ids.n_unique()} distinct")
    numbers = ids.cast(pl.Int64, strict=False)
    return numbers if not numbers.has_nulls() and (numbers.cast(pl.String) == ids).all() else ids


def _user_ids(path: Path, num_users: int) -> pl.Series:
    if not path.is_file():
        return pl.Series(np.arange(num_users))
    users = _read_ids(path)
    if len(users) < num_users:
        raise UserError(
            f"{path} has {len(users)} lines, but the largest uid is {num_users - 1}: the files do not match"
        )
    return users


def _read_pairs(path: Path, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise UserError(f"{path} is missing: give a folder with {', '.join(f'{part}.csv' for part in _PARTS)}")
    try:
        columns = [pl.col(name).cast(dtype) for name, dtype in _SCHEMA.items()]
        table = pl.read_csv(path, glob=False).select(columns)
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(f"{path} must have the integer columns uid and sid ({reason})") from error
    uid, sid = (_indices(table[name], path) for name in _SCHEMA)
    if sid.max(initial=-1) >= num_items:
        raise UserError(f"{path} has sid {sid.max()}, but {ITEMS_FILE} has {num_items} lines: the files do not match")
    return uid, sid


def _check_distinct(folder: Path, tables: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    for split in (_PARTS[:1], _PARTS[1:3], _PARTS[3:]):
        uid, sid = (np.concatenate(column) for column in zip(*(tables[part] for part in split), strict=True))
        pairs = np.sort(uid.astype(np.int64) << 32 | sid)
        if np.any(pairs[1:] == pairs[:-1]):
            raise UserError(f"{folder}: {' and '.join(split)} must not repeat a pair of uid and sid: make them again")


def _indices(column: pl.Series, path: Path) -> np.ndarray:
    if column.has_nulls() or (column < 0).any():
        raise UserError(f"{path} has a missing or negative {column.name}: indices are integers from 0")
    return column.to_numpy()


def _rows(uid: np.ndarray, sid: np.ndarray) -> tuple[np.ndarray, CSR]:
    users, rows = np.unique(uid, return_inverse=True)
    return users.astype(np.int32), from_pairs(rows, sid, num_rows=len(users))


def _held_out(shown: tuple[np.ndarray, np.ndarray], hidden: tuple[np.ndarray, np.ndarray]) -> HeldOut:
    users = np.union1d(shown[0], hidden[0]).astype(np.int32)

    def rows(pairs: tuple[np.ndarray, np.ndarray]) -> CSR:
        return from_pairs(np.searchsorted(users, pairs[0]), pairs[1], num_rows=len(users))

    return HeldOut(users, rows(shown), rows(hidden))
