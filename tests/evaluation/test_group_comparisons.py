import numpy as np
import polars as pl
import pytest
from scipy import stats

from piavae_jax.errors import UserError
from piavae_jax.evaluation import PAPER_GROUPS, UserMetrics, compare_groups, holm, select_users


def make_metrics(seed, users):
    generator = np.random.default_rng(seed)
    order = np.random.default_rng(0)
    history = order.integers(5, 150, users)
    targets = np.where(order.random(users) < 0.1, 0, 2)
    values = {name: np.where(targets > 0, generator.random(users), np.nan) for name in ("ndcg@100", "recall@20")}
    return UserMetrics(pl.Series(np.arange(users)), history - targets, targets, values)


def test_each_group_is_compared_by_itself():
    new, old = make_metrics(1, 200), make_metrics(2, 200)
    rows = compare_groups(("new", new), ("old", old), resamples=200)
    assert [row.group.label for row in rows[::2]] == ["5-10", "11-50", "51-100", "over 100"]
    history = new.num_input + new.num_target
    for row in rows:
        members = row.group.members(history) & (new.num_target > 0)
        ours, theirs = (metrics[row.comparison.metric][members] for metrics in (new, old))
        assert row.comparison.users == members.sum()
        assert row.comparison.difference == pytest.approx(np.mean(ours - theirs))
        assert row.comparison.p_value == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
        assert row.comparison.low < row.comparison.difference < row.comparison.high
    corrected = holm(np.array([row.comparison.p_value for row in rows]))
    np.testing.assert_allclose([row.comparison.p_holm for row in rows], corrected)


def test_the_order_of_users_does_not_matter():
    new, old = make_metrics(1, 60), make_metrics(2, 60)
    order = np.random.default_rng(3).permutation(60)
    turned = UserMetrics(
        new.users.gather(order),
        new.num_input[order],
        new.num_target[order],
        {name: values[order] for name, values in new.values.items()},
    )
    whole = compare_groups(("new", new), ("old", old), resamples=50)
    assert compare_groups(("new", turned), ("old", old), resamples=50) == whole


def test_groups_of_fewer_than_two_users_are_left_out():
    new, old = make_metrics(1, 60), make_metrics(2, 60)
    few = np.flatnonzero(PAPER_GROUPS[0].members(new.num_input + new.num_target))[1:]
    keep = np.ones(60, bool)
    keep[few] = False
    rows = compare_groups(("new", select_users(new, keep)), ("old", select_users(old, keep)), resamples=50)
    assert "5-10" not in {row.group.label for row in rows}
    none = np.zeros(60, bool)
    assert compare_groups(("new", select_users(new, none)), ("old", select_users(old, none))) == []


def test_other_users_are_refused():
    with pytest.raises(UserError, match="must be evaluated on the same users"):
        compare_groups(("new", make_metrics(1, 60)), ("old", make_metrics(2, 61)))
