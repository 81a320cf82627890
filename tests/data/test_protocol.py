import literal_protocol
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piavae_jax.data.cleaning import clean
from piavae_jax.data.interactions import Interactions
from piavae_jax.data.protocol import StrongGeneralization
from piavae_jax.errors import UserError


def _random_rows(seed: int, *, users: int = 30, items: int = 40, number: int = 900, text: bool = False) -> list:
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, items + 1)
    columns = (
        rng.integers(1, users + 1, number) * 7,
        rng.choice(items, number, p=popularity / popularity.sum()) + 100,
        rng.integers(1, 11, number) / 2,
    )
    rows = [(int(user), int(item), float(rating)) for user, item, rating in zip(*columns, strict=True)]
    return [(f"u{user}", f"é{item}", rating) for user, item, rating in rows] if text else rows


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    heldout=st.integers(1, 6),
    min_users=st.integers(0, 4),
    min_items=st.integers(0, 6),
    min_rating=st.sampled_from([0.5, 2.0, 3.5]),
    text=st.booleans(),
)
def test_agrees_with_the_protocol_done_row_by_row(seed, heldout, min_users, min_items, min_rating, text):
    rows = _random_rows(seed, text=text)
    expected = literal_protocol.strong(
        rows, heldout=heldout, min_users=min_users, min_items=min_items, min_rating=min_rating, seed=98765
    )
    protocol = StrongGeneralization(heldout, min_users_per_item=min_users, min_items_per_user=min_items)
    events = clean(literal_protocol.interactions(rows), min_rating=min_rating)
    if 2 * heldout >= len(expected.users):
        with pytest.raises(UserError, match="heldout_users"):
            protocol.split(events, name="rows")
    else:
        assert literal_protocol.as_split(protocol.split(events, name="rows")) == expected


def test_another_seed_gives_the_split_of_that_seed():
    rows = _random_rows(3)
    expected = literal_protocol.strong(rows, heldout=4, min_users=0, min_items=5, min_rating=3, seed=11)
    dataset = StrongGeneralization(4, seed=11).split(clean(literal_protocol.interactions(rows), min_rating=3), name="x")
    assert literal_protocol.as_split(dataset) == expected
    assert dataset.manifest.seed == 11


def test_users_are_numbered_train_then_validation_then_test():
    dataset = StrongGeneralization(5).split(clean(literal_protocol.interactions(_random_rows(0))), name="x")
    numbers = [*dataset.train_users, *dataset.validation.users, *dataset.test.users]
    np.testing.assert_array_equal(numbers, np.arange(dataset.num_users))


def test_counts_what_it_leaves_out():
    rows = _random_rows(1)
    dataset = StrongGeneralization(5, min_users_per_item=3, min_items_per_user=4).split(
        clean(literal_protocol.interactions(rows), min_rating=3), name="x"
    )
    counts = dataset.manifest.counts
    kept = counts.train_interactions + sum(
        part.input_interactions + part.target_interactions for part in (counts.validation, counts.test)
    )
    assert kept + sum(dataset.manifest.dropped.values()) == len(rows)
    pairs = literal_protocol.filtered(literal_protocol.positives(rows, 3), 3, 4)
    assert counts.interactions == len(pairs)
    assert counts.filtered_items == len({item for _, item in pairs})
    assert dataset.manifest.raw.rows == len(rows)


def test_a_user_with_few_known_items_has_no_target():
    rows = [(user, item, 5.0) for user in range(20) for item in range(4)]
    dataset = StrongGeneralization(3, min_items_per_user=0).split(clean(literal_protocol.interactions(rows)), name="x")
    assert dataset.manifest.counts.test.users_without_target == 3
    np.testing.assert_array_equal(dataset.test.input.lengths, [4, 4, 4])
    np.testing.assert_array_equal(dataset.test.target.lengths, [0, 0, 0])


def test_a_held_out_user_whose_items_are_all_unknown_keeps_an_empty_row():
    rows = [(user, item, 5.0) for user in range(20) for item in range(100 * user, 100 * user + 5)]
    dataset = StrongGeneralization(2).split(clean(literal_protocol.interactions(rows)), name="x")
    np.testing.assert_array_equal(dataset.test.input.lengths, [0, 0])
    assert dataset.num_users == 20
    assert dataset.manifest.dropped["items_without_training_user"] == 4 * 5


def test_a_tenth_is_held_out_by_default():
    rows = [(user, item, 5.0) for user in range(57) for item in range(5)]
    dataset = StrongGeneralization().split(clean(literal_protocol.interactions(rows)), name="x")
    assert len(dataset.validation.users) == len(dataset.test.users) == 5
    assert dataset.manifest.parameters["heldout_users"] == 5


@pytest.mark.parametrize("heldout", [10, 11, 500])
def test_refuses_to_hold_out_everyone(heldout):
    rows = [(user, item, 5.0) for user in range(20) for item in range(5)]
    with pytest.raises(UserError, match=f"less than half of the 20 users .* got {heldout}"):
        StrongGeneralization(heldout).split(clean(literal_protocol.interactions(rows)), name="x")


def test_says_when_the_filters_leave_nobody():
    rows = [(user, item, 5.0) for user in range(20) for item in range(4)]
    with pytest.raises(UserError, match=r"no user is left.*min_items_per_user=5.*most items a user: 4"):
        StrongGeneralization(2).split(clean(literal_protocol.interactions(rows)), name="x")


@pytest.mark.parametrize(
    "settings_",
    [
        {"heldout_users": 0},
        {"heldout_users": 2.5},
        {"min_users_per_item": -1},
        {"min_items_per_user": -1},
        {"test_fraction": 1.0},
        {"test_fraction": -0.1},
        {"test_fraction": float("nan")},
        {"min_events_to_split": 0},
        {"seed": -1},
    ],
)
def test_refuses_settings_out_of_range(settings_):
    name, value = next(iter(settings_.items()))
    with pytest.raises(UserError, match=f"{name} must be .* got {value}"):
        StrongGeneralization(**settings_)


def test_counts_of_movielens_1m(shared_data):
    data = np.load(shared_data / "ml1m.npz")
    events = pl.LazyFrame({"user": data["users"], "item": data["items"], "rating": data["ratings"] / 2})
    counts = StrongGeneralization(600).split(clean(Interactions(events), min_rating=4), name="x").manifest.counts
    assert (counts.users, counts.filtered_items, counts.interactions) == (6_034, 3_533, 575_272)
    assert (counts.train_users, counts.validation.users, counts.test.users) == (4_834, 600, 600)


def test_a_seed_that_the_legacy_generator_does_not_take_is_refused():
    with pytest.raises(UserError, match=r"seed must be an integer from 0 to 4294967295, got 20261125000000"):
        StrongGeneralization(5, seed=20261125000000)
