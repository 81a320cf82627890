import numpy as np
import polars as pl
import pytest

from piavae_jax.errors import UserError
from piavae_jax.evaluation import UserMetrics, compare, pool_splits

METRICS = ("ndcg@100", "recall@20")


def random_split(rng, users):
    users = np.sort(np.asarray(users))
    values = {label: rng.random(len(users)) for label in METRICS}
    targets = rng.integers(1, 9, len(users))
    return UserMetrics(pl.Series("user_id", users), rng.integers(1, 50, len(users)), targets, values)


def test_a_user_of_several_splits_has_the_mean_of_them():
    rng = np.random.default_rng(0)
    splits = [random_split(rng, rng.choice(40, 15, replace=False)) for _ in range(4)]
    splits[1].values["ndcg@100"][3] = np.nan
    for number, split in enumerate(splits):
        split.num_target[number * 3 :: 4] = 0
    found = pool_splits(splits)
    everyone = sorted({user for split in splits for user in split.users})
    assert found.users.to_list() == everyone
    assert len(everyone) < 60
    for row, user in enumerate(everyone):
        where = [(split, split.users.to_list().index(user)) for split in splits if user in split.users]
        split, place = next(((split, place) for split, place in where if split.num_target[place]), where[0])
        assert (found.num_input[row], found.num_target[row]) == (split.num_input[place], split.num_target[place])
        for label in METRICS:
            values = [split[label][place] for split, place in where]
            values = [value for value in values if not np.isnan(value)]
            np.testing.assert_allclose(found[label][row], np.mean(values) if values else np.nan, rtol=1e-12)


def test_pooled_systems_can_be_compared():
    rng = np.random.default_rng(1)
    held_out = [rng.choice(40, 15, replace=False) for _ in range(3)]
    worse = pool_splits([random_split(np.random.default_rng(seed), users) for seed, users in enumerate(held_out)])
    better = UserMetrics(
        worse.users, worse.num_input, worse.num_target, {"ndcg@100": worse["ndcg@100"] + rng.random(len(worse))}
    )
    (row,) = compare({"worse": worse, "better": better}, "worse", metrics=["ndcg@100"], resamples=200)
    assert row.difference == pytest.approx(np.mean(better["ndcg@100"] - worse["ndcg@100"]))
    assert row.low > 0


@pytest.mark.parametrize("fault", ["none", "metrics", "ids"])
def test_splits_that_cannot_be_pooled(fault):
    one = random_split(np.random.default_rng(0), range(5))
    other = {
        "metrics": UserMetrics(one.users, one.num_input, one.num_target, {"ndcg@100": one["ndcg@100"]}),
        "ids": UserMetrics(one.users.cast(pl.String), one.num_input, one.num_target, one.values),
    }
    with pytest.raises(UserError, match="splits must"):
        pool_splits([] if fault == "none" else [one, other[fault]])
