"""Distinct positive interactions as integer codes: what the split protocols work on."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import polars as pl

from piavae_jax.data.manifest import RawCounts, Value
from piavae_jax.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Events:
    """n distinct (user, item) pairs in the order of the source file."""

    users: np.ndarray
    """int32[n], index into `user_ids`."""
    items: np.ndarray
    """int32[n], index into `item_ids`."""
    user_ids: pl.Series
    """External ids (Int64 or String), ascending; strings compare by their UTF-8 bytes."""
    item_ids: pl.Series
    """External ids (Int64 or String), ascending."""
    timestamps: np.ndarray | None = None
    """int64[n], Unix seconds."""
    titles: pl.DataFrame | None = None
    """Columns `item` and `title`."""
    raw: RawCounts | None = None
    """Sizes of the source."""
    source: str = ""
    parameters: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    """Settings of the cleaning."""
    dropped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Rows left out so far, by reason."""

    def __len__(self) -> int:
        return len(self.users)

    def select(self, mask: np.ndarray, *, reason: str) -> "Events":
        """Keep the events where `mask` (bool[n]) holds, and count the others under `reason`."""
        dropped = int(mask.size - np.count_nonzero(mask))
        counts = {**self.dropped, reason: self.dropped.get(reason, 0) + dropped}
        if not dropped:
            return dataclasses.replace(self, dropped=counts)
        return dataclasses.replace(
            self,
            users=self.users[mask],
            items=self.items[mask],
            timestamps=None if self.timestamps is None else self.timestamps[mask],
            dropped=counts,
        )

    def item_table(self, items: np.ndarray) -> pl.DataFrame:
        """Columns `item_id` and `title`, a row for each code in `items` (int[I])."""
        table = pl.DataFrame({"item_id": self.item_ids.gather(items)})
        if self.titles is None:
            return table.with_columns(title=pl.lit(None, pl.String))
        titles = self.titles.select(pl.col("item").cast(table.schema["item_id"]), pl.col("title").cast(pl.String))
        titles = titles.unique("item", keep="first")
        return table.join(titles, left_on="item_id", right_on="item", how="left", maintain_order="left")

    def user_table(self, users: np.ndarray) -> pl.DataFrame:
        """Column `user_id`, a row for each code in `users` (int[U])."""
        return pl.DataFrame({"user_id": self.user_ids.gather(users)})


def filter_by_count(events: Events, *, min_users_per_item: int, min_items_per_user: int) -> Events:
    """Drop rare items, then users with few of the items left: one pass of each, in that order (Liang et al., 2018).

    Raises:
      UserError: if nothing is left.
    """
    popularity = np.bincount(events.items, minlength=len(events.item_ids))
    frequent = (popularity >= min_users_per_item)[events.items]
    events = events.select(frequent, reason="items_with_few_users")
    activity = np.bincount(events.users, minlength=len(events.user_ids))
    active = (activity >= min_items_per_user)[events.users]
    events = events.select(active, reason="users_with_few_items")
    if not len(events):
        raise UserError(
            f"no user is left after the filters min_users_per_item={min_users_per_item} and "
            f"min_items_per_user={min_items_per_user} (most users an item: {popularity.max(initial=0)}, "
            f"most items a user: {activity.max(initial=0)}): lower them"
        )
    return events


def first_appearance(codes: np.ndarray) -> np.ndarray:
    """Distinct codes in the order in which each is first seen."""
    return pl.Series(codes).unique(maintain_order=True).to_numpy()


def present(codes: np.ndarray) -> np.ndarray:
    """Distinct codes, ascending; codes are small integers, so that marking them is faster than sorting."""
    marks = np.zeros(int(codes.max(initial=0)) + 1, bool)
    marks[codes] = True
    return np.flatnonzero(marks)


def renumber(codes: np.ndarray, *, size: int) -> np.ndarray:
    """int32[size], position of each code in `codes`, and -1 for a code that is not there."""
    numbers = np.full(size, -1, np.int32)
    numbers[codes] = np.arange(len(codes), dtype=np.int32)
    return numbers
