"""Strong generalisation: whole users are held out.

Source: Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018, section 4.1,
https://arxiv.org/abs/1802.05814, and the code published with it.
"""

import dataclasses

import numpy as np

from piavae_jax.data.checks import check_count, check_fraction, check_legacy_seed
from piavae_jax.data.csr import from_pairs
from piavae_jax.data.events import (
    Events,
    filter_by_count,
    first_appearance,
    present,
    renumber,
)
from piavae_jax.data.prepared import HeldOut, PreparedDataset, assemble
from piavae_jax.errors import UserError

PUBLISHED_SEED = 98765
"""The seed of the published splits of ML-20M, Netflix and MSD."""


@dataclasses.dataclass(frozen=True)
class StrongGeneralization:
    """The protocol of Liang et al. (2018), to the last random draw.

    Held-out users never meet the model in training. At evaluation it sees most of such a user's items (the fold-in
    input) and must rank the rest. The legacy NumPy generator is used on purpose: it gives the published splits.
    """

    heldout_users: int | None = None
    """Users of validation, and again of test; None takes a tenth of all users for each."""
    min_users_per_item: int = 0
    min_items_per_user: int = 5
    test_fraction: float = 0.2
    """Share of a held-out user's items that become targets, rounded down."""
    min_events_to_split: int = 5
    """A held-out user with fewer known items gives them all as input and has no target."""
    seed: int = PUBLISHED_SEED

    def __post_init__(self) -> None:
        if self.heldout_users is not None:
            check_count("heldout_users", self.heldout_users, minimum=1)
        check_count("min_users_per_item", self.min_users_per_item, minimum=0)
        check_count("min_items_per_user", self.min_items_per_user, minimum=0)
        check_count("min_events_to_split", self.min_events_to_split, minimum=1)
        check_legacy_seed(self.seed)
        check_fraction("test_fraction", self.test_fraction)

    def split(self, events: Events, *, name: str) -> PreparedDataset:
        """Filter, permute the users, and split.

        User indices are positions in the permuted list: training users first, then validation, then test. Item
        indices follow the first appearance in the training users' rows, in file order.

        Raises:
          UserError: if no user is left after the filters, or the held-out users leave none to train on.
        """
        events = filter_by_count(
            events, min_users_per_item=self.min_users_per_item, min_items_per_user=self.min_items_per_user
        )
        interactions, filtered_items = len(events), len(present(events.items))
        order = self._permuted_users(events)
        heldout = self._num_heldout(len(order))
        num_train = len(order) - 2 * heldout
        numbers = renumber(order, size=len(events.user_ids))[events.users]
        vocabulary = first_appearance(events.items[numbers < num_train])
        indices = renumber(vocabulary, size=len(events.item_ids))[events.items]
        events = events.select(indices >= 0, reason="items_without_training_user")
        numbers, indices = numbers[indices >= 0], indices[indices >= 0]
        train = numbers < num_train
        bounds = (num_train, num_train + heldout, len(order))
        return assemble(
            name=name,
            source=events.source,
            protocol="strong_generalization",
            parameters={**events.parameters, **self._parameters(), "heldout_users": heldout},
            seed=self.seed,
            raw=events.raw,
            filtered_items=filtered_items,
            interactions=interactions,
            dropped=events.dropped,
            train=from_pairs(numbers[train], indices[train], num_rows=num_train),
            train_users=np.arange(num_train, dtype=np.int32),
            validation=self._fold_in(events.users, numbers, indices, bounds[0], bounds[1]),
            test=self._fold_in(events.users, numbers, indices, bounds[1], bounds[2]),
            items=events.item_table(vocabulary),
            users=events.user_table(order),
        )

    def _parameters(self) -> dict[str, int | float | None]:
        return {field: value for field, value in dataclasses.asdict(self).items() if field != "seed"}

    def _permuted_users(self, events: Events) -> np.ndarray:
        users = present(events.users)
        return users[np.random.RandomState(self.seed).permutation(len(users))]

    def _num_heldout(self, num_users: int) -> int:
        heldout = max(1, num_users // 10) if self.heldout_users is None else self.heldout_users
        if 2 * heldout >= num_users:
            raise UserError(
                f"heldout_users must be less than half of the {num_users:,} users left after the filters, because "
                f"validation and test each take that many, got {heldout:,}: hold out fewer"
            )
        return heldout

    def _fold_in(self, users: np.ndarray, numbers: np.ndarray, indices: np.ndarray, first: int, last: int) -> HeldOut:
        """Split the rows of the users numbered [first, last) into input and targets."""
        rows = np.flatnonzero((numbers >= first) & (numbers < last))
        rows = rows[np.argsort(users[rows], kind="stable")]  # users by id, a user's rows in file order
        target = self._draw_targets(np.unique(users[rows], return_counts=True)[1])
        row_numbers, indices = numbers[rows] - first, indices[rows]
        return HeldOut(
            users=np.arange(first, last, dtype=np.int32),
            input=from_pairs(row_numbers[~target], indices[~target], num_rows=last - first),
            target=from_pairs(row_numbers[target], indices[target], num_rows=last - first),
        )

    def _draw_targets(self, lengths: np.ndarray) -> np.ndarray:
        """bool[sum(lengths)], True for targets; one draw a user, in the published order.

        The published call is `choice(n, size, replace=False)`, which is the start of a permutation and slower.
        """
        generator = np.random.RandomState(self.seed)
        target = np.zeros(int(lengths.sum()), bool)
        starts = np.cumsum(lengths) - lengths
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            if length >= self.min_events_to_split:
                size = int(self.test_fraction * length)
                target[start + generator.permutation(length)[:size]] = True
        return target
