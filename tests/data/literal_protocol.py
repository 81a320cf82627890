"""The protocols again, row by row with lists and dicts, to check the vectorised ones against."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from piavae_jax.data.interactions import Interactions
from piavae_jax.data.prepared import HeldOut, PreparedDataset

Row = tuple[Any, Any, float]


class Split(NamedTuple):
    """Everything by external id: user -> set of items."""

    users: list
    items: list
    train: dict
    validation: dict
    test: dict
    """user -> (input items, target items)."""


def interactions(rows: list[Row], times: list[int] | None = None) -> Interactions:
    columns = dict(zip(("user", "item", "rating"), map(list, zip(*rows, strict=True)), strict=True))
    if times is not None:
        columns["timestamp"] = times
    return Interactions(pl.LazyFrame(columns), source="rows")


def positives(rows: list[Row], min_rating: float) -> list[tuple[Any, Any]]:
    pairs = []
    for user, item, rating in rows:
        if rating >= min_rating and (user, item) not in pairs:
            pairs.append((user, item))
    return pairs


def filtered(pairs: list[tuple[Any, Any]], min_users_per_item: int, min_items_per_user: int) -> list[tuple[Any, Any]]:
    item_count: dict[Any, int] = {}
    for _, item in pairs:
        item_count[item] = item_count.get(item, 0) + 1
    pairs = [(user, item) for user, item in pairs if item_count[item] >= min_users_per_item]
    user_count: dict[Any, int] = {}
    for user, _ in pairs:
        user_count[user] = user_count.get(user, 0) + 1
    return [(user, item) for user, item in pairs if user_count[user] >= min_items_per_user]


def strong(rows: list[Row], *, heldout: int, min_users: int, min_items: int, min_rating: float, seed: int) -> Split:
    """Section 4.1 of Liang et al. (2018) as their notebook does it, with NumPy's global generator."""
    pairs = filtered(positives(rows, min_rating), min_users, min_items)
    users = sorted({user for user, _ in pairs})
    np.random.seed(seed)  # noqa: NPY002
    users = [users[i] for i in np.random.permutation(len(users))]  # noqa: NPY002
    train_users = users[: len(users) - 2 * heldout]
    validation_users = users[len(users) - 2 * heldout : len(users) - heldout]
    test_users = users[len(users) - heldout :]
    vocabulary: list[Any] = []
    train: dict[Any, set] = {user: set() for user in train_users}
    for user, item in pairs:
        if user in train:
            train[user].add(item)
            if item not in vocabulary:
                vocabulary.append(item)
    known = [(user, item) for user, item in pairs if item in vocabulary]
    return Split(users, vocabulary, train, _fold_in(known, validation_users, seed), _fold_in(known, test_users, seed))


def _fold_in(pairs: list[tuple[Any, Any]], users: list, seed: int) -> dict:
    np.random.seed(seed)  # noqa: NPY002
    parts: dict[Any, tuple[set, set]] = {user: (set(), set()) for user in users}
    for user in sorted(users):
        items = [item for owner, item in pairs if owner == user]
        targets: list[int] = []
        if len(items) >= 5:
            targets = np.random.choice(len(items), size=int(0.2 * len(items)), replace=False).tolist()  # noqa: NPY002
        for position, item in enumerate(items):
            parts[user][position in targets].add(item)
    return parts


def as_split(dataset: PreparedDataset) -> Split:
    """A prepared data set in the form of this module."""
    users, items = dataset.users["user_id"].to_list(), dataset.items["item_id"].to_list()

    def ids(row: np.ndarray) -> set:
        return {items[index] for index in row}

    def held_out(part: HeldOut) -> dict:
        rows = range(len(part.users))
        return {users[part.users[row]]: (ids(part.input.row(row)), ids(part.target.row(row))) for row in rows}

    train = {users[user]: ids(dataset.train.row(row)) for row, user in enumerate(dataset.train_users)}
    return Split(users, items, train, held_out(dataset.validation), held_out(dataset.test))
