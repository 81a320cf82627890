import dataclasses

import numpy as np
import pytest

from piavae_jax.data import generator
from piavae_jax.data.cleaning import clean
from piavae_jax.data.generator import generate
from piavae_jax.data.protocol import StrongGeneralization
from piavae_jax.data.shapes import SHAPES, Shape, find_shape
from piavae_jax.errors import UserError

SMALL = Shape(users=400, items=120, interactions=8_000, communities=4)


def _columns(shape, **options):
    events = generate(shape, **options).interactions.events.collect()
    return [events[column].to_numpy() for column in events.columns]


@pytest.mark.parametrize("seed", [0, 1])
def test_sizes_are_met_exactly_and_no_pair_is_repeated(seed):
    users, items = _columns(SMALL, seed=seed)
    lengths = np.bincount(users)[1:]
    assert len(users) == SMALL.interactions
    assert len(lengths) == SMALL.users
    assert lengths.min() >= SMALL.min_history
    assert lengths.max() <= SMALL.max_history
    assert (items.min(), items.max()) == (1, SMALL.items)
    assert len(np.unique(users.astype(np.int64) * 1_000 + items)) == len(users)
    assert (np.diff(users) >= 0).all()


def test_same_seed_same_bits_and_other_seed_other_bits():
    first, again, other = (_columns(SMALL, seed=seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first[: len(other)] != other[: len(first)]).mean() > 0.5


def test_the_number_of_threads_does_not_change_the_bits(monkeypatch):
    monkeypatch.setattr(generator, "_MAX_USERS_A_CHUNK", 37)
    two = _columns(SMALL, seed=0)
    monkeypatch.setattr(generator, "_THREADS", 1)
    np.testing.assert_array_equal(two[1], _columns(SMALL, seed=0)[1])


def test_first_items_follow_the_truth():
    shape = dataclasses.replace(SMALL, users=20_000, interactions=200_000)
    synthetic = generate(shape, seed=3)
    users, items = _columns(shape, seed=3)
    first = items[np.flatnonzero(np.diff(users, prepend=0))] - 1
    probabilities = synthetic.truth.probabilities(np.arange(shape.users))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    expected = probabilities.sum(axis=0)
    deviation = (np.bincount(first, minlength=shape.items) - expected) / np.sqrt(
        (probabilities * (1 - probabilities)).sum(axis=0)
    )
    assert np.abs(deviation).max() < 4.5
    assert 0.7 < np.square(deviation).mean() < 1.4


def test_discarding_repeats_and_the_exponential_race_have_one_distribution(monkeypatch):
    shape = Shape(users=6_000, items=40, interactions=60_000, communities=2, taste_spread=1.5)
    counts = []
    for rounds in (6, 0):
        monkeypatch.setattr(generator, "_ROUNDS", rounds)
        users, items = _columns(shape, seed=5)
        assert len(np.unique(users.astype(np.int64) * 100 + items)) == shape.interactions
        counts.append(np.bincount(items, minlength=shape.items + 1)[1:])
    variance = counts[0] * (1 - counts[0] / shape.users)
    deviation = (counts[0] - counts[1]) / np.sqrt(2 * np.maximum(variance, 1))
    assert np.abs(deviation).max() < 4.5


def test_narrow_tastes_still_fill_long_histories():
    shape = Shape(users=50, items=200, interactions=2_400, min_history=40, communities=3, taste_spread=6.0)
    users, items = _columns(shape, seed=0)
    assert len(np.unique(users.astype(np.int64) * 1_000 + items)) == 2_400


def test_popularity_and_activity_are_heavy_tailed():
    shape = dataclasses.replace(SHAPES["ml-1m"], users=3_000, interactions=250_000)
    users, items = _columns(shape, seed=0)
    popularity, lengths = np.sort(np.bincount(items))[::-1], np.bincount(users)[1:]
    assert popularity[: len(popularity) // 10].sum() > 0.3 * shape.interactions
    assert 0.7 < np.log(lengths).std() < 1.1
    assert np.median(lengths) < 0.8 * lengths.mean()


def test_times_rise_along_a_users_rows_only_when_asked_for():
    users, _, times = _columns(SMALL, seed=0, timestamps=True)
    within = np.diff(users) == 0
    assert (np.diff(times)[within] >= 0).all()
    assert times.dtype == np.int64
    assert len(_columns(SMALL, seed=0)) == 2


def test_on_the_tiny_shape_taste_beats_popularity_clearly():
    synthetic = generate(SHAPES["tiny"], seed=0)
    dataset = StrongGeneralization(300).split(clean(synthetic.interactions), name="tiny")
    users = dataset.users["user_id"].to_numpy()[dataset.test.users] - 1
    truth = synthetic.truth.probabilities(users)[:, dataset.items["item_id"].to_numpy() - 1]
    popularity = np.broadcast_to(np.bincount(dataset.train.indices, minlength=dataset.num_items), truth.shape)
    assert _recall_at_20(truth, dataset.test) > 1.7 * _recall_at_20(popularity, dataset.test)


def _recall_at_20(scores, part):
    recalls = []
    for row in range(len(part.users)):
        ranked = scores[row].astype(float)
        ranked[part.input.row(row)] = -np.inf
        target = part.target.row(row)
        if len(target):
            hits = np.isin(np.argsort(-ranked)[:20], target).sum()
            recalls.append(hits / min(20, len(target)))
    return np.mean(recalls)


def test_titles_name_the_community_that_likes_the_item_most():
    synthetic = generate(SMALL, seed=0)
    lift = synthetic.truth.item_probabilities / synthetic.truth.item_probabilities.mean(axis=0)
    assert synthetic.interactions.titles.height == SMALL.items
    assert synthetic.interactions.titles["title"][6] == f"Item 7 (community {lift[:, 6].argmax()})"


def test_presets_have_the_published_sizes():
    sizes = {name: (shape.users, shape.items, shape.interactions) for name, shape in SHAPES.items()}
    assert sizes["ml-20m"] == (136_677, 20_108, 9_990_682)
    assert sizes["netflix"] == (463_435, 17_769, 56_880_037)
    assert sizes["msd"] == (571_355, 41_140, 33_633_450)
    assert find_shape("msd").min_history == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": 0}, "users must be an integer of at least 1, got 0"),
        ({"communities": 0}, "communities must be"),
        ({"popularity_exponent": 0.0}, "popularity_exponent must be positive, got 0.0"),
        ({"taste_spread": float("nan")}, "taste_spread must be positive, got nan"),
        ({"popularity_offset": -1.0}, "popularity_offset must be at least 0"),
        ({"interactions": 1_000}, "mean history from min_history=5 .* got 2.5"),
        ({"interactions": 400 * 31}, "a quarter of the items, 30, got 31"),
    ],
)
def test_refuses_impossible_shapes(change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(SMALL, **change)


def test_names_the_shapes_there_are():
    with pytest.raises(UserError, match=r"shape must be one of tiny, .* got 'huge'"):
        find_shape("huge")


def test_refuses_a_negative_seed():
    with pytest.raises(UserError, match="seed must be an integer of at least 0, got -1"):
        generate(SHAPES["tiny"], seed=-1)
