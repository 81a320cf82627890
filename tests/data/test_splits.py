import literal_protocol
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piavae_jax.data.cleaning import clean
from piavae_jax.data.splits import LeaveLastOut, RandomSplit
from piavae_jax.errors import UserError


def _events(rows, times=None):
    return clean(literal_protocol.interactions(rows, times), timestamps=times is not None)


def _targets(part: dict) -> dict:
    return {user: target for user, (_, target) in part.items()}


def test_the_last_event_is_for_test_and_the_one_before_for_validation():
    rows = [("a", 1, 5.0), ("a", 2, 5.0), ("a", 3, 5.0), ("a", 4, 5.0), ("b", 4, 5.0), ("b", 3, 5.0), ("b", 1, 5.0)]
    split = literal_protocol.as_split(
        LeaveLastOut(min_items_per_user=0).split(_events(rows, [9, 2, 7, 1, 30, 20, 10]), name="x")
    )
    # In order of time, a has 4, 2, 3, 1 and b has 1, 3, 4; item 3 is in no training row.
    assert split.train == {"a": {4, 2}, "b": {1}}
    assert split.validation == {"a": ({4, 2}, set()), "b": ({1}, set())}
    assert split.test == {"a": ({4, 2}, {1}), "b": ({1}, {4})}
    assert split.items == [2, 4, 1]


def test_events_of_the_same_second_keep_the_order_of_the_file():
    rows = [(user, item, 5.0) for item in (5, 3, 9, 1, 7) for user in (1, 2)]
    split = literal_protocol.as_split(LeaveLastOut().split(_events(rows, [0] * len(rows)), name="x"))
    assert split.train == {1: {5, 3, 9}, 2: {5, 3, 9}}
    assert split.users == [1, 2]


def test_users_with_fewer_than_three_events_are_only_trained_on():
    rows = [
        (1, 1, 5.0),
        (1, 2, 5.0),
        (2, 1, 5.0),
        (2, 2, 5.0),
        (2, 3, 5.0),
        (3, 1, 5.0),
        (3, 2, 5.0),
        (3, 3, 5.0),
        (4, 3, 5.0),
    ]
    dataset = LeaveLastOut(min_items_per_user=0).split(_events(rows, list(range(9))), name="x")
    split = literal_protocol.as_split(dataset)
    assert split.train == {1: {1, 2}, 2: {1}, 3: {1}, 4: {3}}
    assert _targets(split.validation) == {2: {2}, 3: {2}}
    assert _targets(split.test) == {2: {3}, 3: {3}}
    assert dataset.manifest.protocol == "leave_last_out"


def test_targets_unseen_in_training_are_dropped_and_counted():
    rows = [(user, item, 5.0) for user in range(4) for item in (0, 1, 2)] + [
        (user, 10 + user, 5.0) for user in range(4)
    ]
    dataset = LeaveLastOut(min_items_per_user=0).split(_events(rows, list(range(len(rows)))), name="x")
    counts = dataset.manifest.counts
    assert dataset.manifest.dropped["items_without_training_user"] == 8
    assert (counts.filtered_items, counts.items, counts.interactions) == (7, 2, 16)
    assert counts.test.users_without_target == counts.test.users == 4


def test_leave_last_out_needs_times():
    with pytest.raises(UserError, match="leave-last-out needs a timestamp"):
        LeaveLastOut().split(_events([(1, 1, 5.0)]), name="x")


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1_000),
    validation=st.sampled_from([0.0, 0.1, 0.25]),
    test=st.sampled_from([0.0, 0.2, 0.5]),
)
def test_a_random_split_divides_every_user_in_the_given_shares(seed, validation, test):
    rng = np.random.default_rng(seed)
    rows = [(user, int(item), 5.0) for user in range(30) for item in rng.permutation(40)[: rng.integers(1, 30)]]
    protocol = RandomSplit(validation_fraction=validation, test_fraction=test, min_items_per_user=0, seed=seed)
    dataset = protocol.split(_events(rows), name="x")
    split = literal_protocol.as_split(dataset)
    history = {user: {item for owner, item, _ in rows if owner == user} for user in range(30)}
    unknown = {item for items in history.values() for item in items} - set(split.items)
    assert set(split.items) == set.union(*split.train.values())
    for user, items in history.items():
        parts = [split.train[user], _targets(split.validation).get(user, set()), _targets(split.test).get(user, set())]
        assert set.union(*parts) == items - unknown
        assert sum(map(len, parts)) == len(items - unknown)
        assert len(split.train[user]) == len(items) - int(validation * len(items)) - int(test * len(items))
        assert user not in split.validation or split.validation[user][0] == parts[0]
        assert user not in split.test or split.test[user][0] == parts[0] | parts[1]
    assert dataset.manifest.dropped["items_without_training_user"] == sum(
        len(items & unknown) for items in history.values()
    )


def test_every_item_of_a_user_is_as_likely_to_be_held_out():
    rows = [(user, item, 5.0) for user in range(2_000) for item in range(10)]
    dataset = RandomSplit(validation_fraction=0.1, test_fraction=0.2).split(_events(rows), name="x")
    held_out = np.bincount(dataset.test.target.indices, minlength=10)
    assert held_out.sum() == 4_000
    deviation = (held_out - 400) / np.sqrt(2_000 * 0.2 * 0.8)
    assert np.abs(deviation).max() < 4.5


def test_a_random_split_is_a_function_of_its_seed():
    rows = [(user, item, 5.0) for user in range(20) for item in range(10)]
    splits = [literal_protocol.as_split(RandomSplit(seed=seed).split(_events(rows), name="x")) for seed in (1, 1, 2)]
    assert splits[0] == splits[1]
    assert splits[0].train != splits[2].train


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"validation_fraction": 1.0}, "validation_fraction must be at least 0"),
        ({"test_fraction": -0.1}, "test_fraction must be at least 0 and less than 1, got -0.1"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, r"validation_fraction \+ test_fraction must be"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"min_items_per_user": -1}, "min_items_per_user must be"),
    ],
)
def test_refuses_settings_out_of_range(settings_, message):
    with pytest.raises(UserError, match=message):
        RandomSplit(**settings_)


def test_leave_last_out_on_movielens_100k(shared_data):
    data = np.load(shared_data / "ml100k.npz")
    columns = (data["users"].tolist(), data["items"].tolist(), (data["ratings"] / 2).tolist())
    events = _events(list(zip(*columns, strict=True)), data["timestamps"].tolist())
    dataset = LeaveLastOut().split(events, name="ml100k")
    counts = dataset.manifest.counts
    assert (counts.users, counts.interactions, counts.train_interactions) == (943, 100_000, 98_114)
    assert counts.test.users == counts.validation.users == 943
    assert counts.train_interactions + counts.validation.target_interactions + counts.test.target_interactions == (
        100_000 - dataset.manifest.dropped["items_without_training_user"]
    )
