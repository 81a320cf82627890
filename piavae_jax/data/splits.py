"""Weak generalisation: every user is trained on, and some of each user's interactions are held out.

At validation the model sees a user's training items; at test the validation items too, which by then are known.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from piavae_jax.data.checks import check_count, check_fraction
from piavae_jax.data.csr import CSR, from_pairs
from piavae_jax.data.events import (
    Events,
    filter_by_count,
    first_appearance,
    present,
    renumber,
)
from piavae_jax.data.manifest import Value
from piavae_jax.data.prepared import HeldOut, PreparedDataset, assemble
from piavae_jax.errors import UserError

_TRAIN, _VALIDATION, _TEST = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class LeaveLastOut:
    """Each user's last interaction is the test target, the one before it the validation target.

    Events at the same second keep the order of the file. A user with fewer than three events is only trained on.
    """

    min_users_per_item: int = 0
    min_items_per_user: int = 5

    def __post_init__(self) -> None:
        check_count("min_users_per_item", self.min_users_per_item, minimum=0)
        check_count("min_items_per_user", self.min_items_per_user, minimum=0)

    def split(self, events: Events, *, name: str) -> PreparedDataset:
        """Filter and split; user indices follow the ascending user ids.

        Raises:
          UserError: if the events have no timestamps, or none is left after the filters.
        """
        if events.timestamps is None:
            raise UserError(
                f"{events.source}: leave-last-out needs a timestamp for each event and got none: use random"
            )
        events = _filtered(events, self)
        assert events.timestamps is not None
        from_last, lengths = _position_from_last(events.users, events.timestamps)
        parts = np.full(len(events), _TRAIN, np.int8)
        long_enough = lengths[events.users] >= 3
        parts[long_enough & (from_last == 0)] = _TEST
        parts[long_enough & (from_last == 1)] = _VALIDATION
        return _assemble(events, parts, name=name, protocol="leave_last_out", parameters=_parameters(self), seed=None)


@dataclasses.dataclass(frozen=True)
class RandomSplit:
    """A random share of each user's interactions for validation and for test, each rounded down."""

    validation_fraction: float = 0.1
    test_fraction: float = 0.2
    min_users_per_item: int = 0
    min_items_per_user: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        check_fraction("validation_fraction", self.validation_fraction)
        check_fraction("test_fraction", self.test_fraction)
        check_fraction("validation_fraction + test_fraction", self.validation_fraction + self.test_fraction)
        check_count("min_users_per_item", self.min_users_per_item, minimum=0)
        check_count("min_items_per_user", self.min_items_per_user, minimum=0)
        check_count("seed", self.seed, minimum=0)

    def split(self, events: Events, *, name: str) -> PreparedDataset:
        """Filter and split; user indices follow the ascending user ids.

        Raises:
          UserError: if nothing is left after the filters.
        """
        events = _filtered(events, self)
        draws = np.random.default_rng(self.seed).random(len(events))
        position, lengths = _position_from_last(events.users, draws)
        test = (self.test_fraction * lengths).astype(np.int64)[events.users]
        validation = (self.validation_fraction * lengths).astype(np.int64)[events.users]
        parts = np.select([position < test, position < test + validation], [_TEST, _VALIDATION], _TRAIN)
        return _assemble(
            events, parts, name=name, protocol="random_split", parameters=_parameters(self), seed=self.seed
        )


def _filtered(events: Events, protocol: LeaveLastOut | RandomSplit) -> Events:
    return filter_by_count(
        events, min_users_per_item=protocol.min_users_per_item, min_items_per_user=protocol.min_items_per_user
    )


def _parameters(protocol: LeaveLastOut | RandomSplit) -> dict[str, Value]:
    return {field: value for field, value in dataclasses.asdict(protocol).items() if field != "seed"}


def _position_from_last(users: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank of each event among its user's, 0 for the largest key and ties by row; and events of each user code."""
    order = np.lexsort((keys, users))  # stable
    lengths = np.bincount(users)
    ends = np.cumsum(lengths)
    position = np.empty(len(users), np.int64)
    position[order] = ends[users[order]] - 1 - np.arange(len(users))
    return position, lengths


def _assemble(
    events: Events, parts: np.ndarray, *, name: str, protocol: str, parameters: Mapping[str, Value], seed: int | None
) -> PreparedDataset:
    interactions, filtered_items = len(events), len(present(events.items))
    vocabulary = first_appearance(events.items[parts == _TRAIN])
    indices = renumber(vocabulary, size=len(events.item_ids))[events.items]
    users = present(events.users)
    numbers = renumber(users, size=len(events.user_ids))[events.users]
    heldout_users = {part: np.unique(numbers[parts == part]) for part in (_VALIDATION, _TEST)}
    known = indices >= 0
    events = events.select(known, reason="items_without_training_user")
    numbers, indices, parts = numbers[known], indices[known], parts[known]

    def rows_of(*chosen: int) -> CSR:
        mask = np.isin(parts, chosen)
        return from_pairs(numbers[mask], indices[mask], num_rows=len(users))

    def held_out(part: int, known: CSR) -> HeldOut:
        rows = heldout_users[part]
        return HeldOut(rows.astype(np.int32), take_rows(known, rows), take_rows(rows_of(part), rows))

    train = rows_of(_TRAIN)

    return assemble(
        name=name,
        source=events.source,
        protocol=protocol,
        parameters={**events.parameters, **parameters},
        seed=seed,
        raw=events.raw,
        filtered_items=filtered_items,
        interactions=interactions,
        dropped=events.dropped,
        train=train,
        train_users=np.arange(len(users), dtype=np.int32),
        validation=held_out(_VALIDATION, train),
        # By then the validation items are known too, and must not take places in the lists.
        test=held_out(_TEST, rows_of(_TRAIN, _VALIDATION)),
        items=events.item_table(vocabulary),
        users=events.user_table(users),
    )


def take_rows(rows: CSR, numbers: np.ndarray) -> CSR:
    """The rows `numbers` (int[V], ascending and distinct) as V rows of their own."""
    keep = np.zeros(rows.num_rows, bool)
    keep[numbers] = True
    indptr = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(rows.lengths[numbers], out=indptr[1:])
    return CSR(indptr, rows.indices[np.repeat(keep, rows.lengths)])
