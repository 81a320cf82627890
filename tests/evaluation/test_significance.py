import dataclasses

import numpy as np
import polars as pl
import pytest
from scipy import stats

from piavae_jax.errors import UserError
from piavae_jax.evaluation import UserMetrics, average_runs, compare, holm


def system(values, *, users=None, num_target=None, label="ndcg@100"):
    values = np.asarray(values, np.float64)
    users = pl.Series(np.arange(len(values))) if users is None else users
    num_target = np.where(np.isnan(values), 0, 3) if num_target is None else num_target
    return UserMetrics(users, np.full(len(values), 9), num_target, {label: values})


def reordered(metrics, order):
    return UserMetrics(
        metrics.users[order],
        metrics.num_input[order],
        metrics.num_target[order],
        {label: values[order] for label, values in metrics.values.items()},
    )


def pair_of(seed, *, num_users=200, effect=0.02):
    rng = np.random.default_rng(seed)
    old = rng.random(num_users)
    return system(old), system(old + effect + 0.1 * rng.normal(size=num_users))


def test_agrees_with_scipy():
    old, new = pair_of(0)
    (row,) = compare({"old": old, "new": new}, "old")
    a, b = old["ndcg@100"], new["ndcg@100"]
    assert (row.system, row.baseline, row.metric, row.users) == ("new", "old", "ndcg@100", 200)
    assert row.difference == pytest.approx(b.mean() - a.mean(), abs=1e-12)
    assert row.relative == pytest.approx(b.mean() / a.mean() - 1, abs=1e-12)
    assert row.p_value == pytest.approx(stats.ttest_rel(b, a).pvalue, rel=1e-10)
    assert row.p_holm == row.p_value
    assert row.low < row.difference < row.high


def test_interval_agrees_with_the_normal_one_for_many_users():
    old, new = pair_of(1, num_users=2000)
    (row,) = compare({"old": old, "new": new}, "old")
    differences = new["ndcg@100"] - old["ndcg@100"]
    expected = stats.norm.interval(0.95, differences.mean(), stats.sem(differences))
    np.testing.assert_allclose([row.low, row.high], expected, atol=0.05 * (expected[1] - expected[0]))


def test_interval_covers_the_true_difference():
    covered = 0
    for seed in range(200):
        old, new = pair_of(seed, num_users=100, effect=0.03)
        (row,) = compare({"old": old, "new": new}, "old", resamples=400, confidence=0.9, seed=seed)
        covered += row.low <= 0.03 <= row.high
    # Of 200 intervals at 90 %, a correct method covers 164 to 194 with probability 0.998.
    assert 164 <= covered <= 194


def test_interval_is_a_function_of_the_seed():
    systems = dict(zip(("old", "new"), pair_of(2), strict=True))
    assert compare(systems, "old", seed=3) == compare(systems, "old", seed=3)
    assert compare(systems, "old", seed=3)[0].low != compare(systems, "old", seed=4)[0].low


def test_swapping_systems_flips_the_sign():
    systems = dict(zip(("old", "new"), pair_of(3), strict=True))
    (forward,), (backward,) = compare(systems, "old"), compare(systems, "new")
    assert backward.difference == pytest.approx(-forward.difference, abs=1e-15)
    assert backward.p_value == pytest.approx(forward.p_value, rel=1e-10)
    np.testing.assert_allclose([backward.low, backward.high], [-forward.high, -forward.low], atol=1e-3)


def test_users_are_paired_by_id_in_any_order():
    old, new = pair_of(4)
    order = np.random.default_rng(0).permutation(200)
    assert compare({"old": old, "new": reordered(new, order)}, "old") == compare({"old": old, "new": new}, "old")


def test_users_without_targets_are_left_out():
    old, new = pair_of(5)
    empty = np.arange(200) % 4 == 0
    hidden = {
        name: system(np.where(empty, np.nan, metrics["ndcg@100"])) for name, metrics in (("old", old), ("new", new))
    }
    (row,) = compare(hidden, "old")
    assert row.users == 150
    assert row.difference == pytest.approx(np.mean((new["ndcg@100"] - old["ndcg@100"])[~empty]), abs=1e-12)


def test_runs_are_averaged_by_user_first():
    old, new = pair_of(6)
    other = reordered(system(new["ndcg@100"] + 0.1), np.random.default_rng(1).permutation(200))
    mean = system(new["ndcg@100"] + 0.05)
    (runs,) = compare({"old": old, "new": [new, other]}, "old")
    (expected,) = compare({"old": old, "new": mean}, "old")
    np.testing.assert_allclose(runs[3:], expected[3:], rtol=1e-9)
    assert average_runs([new, other]).users.equals(new.users)


def test_average_of_runs_keeps_users_without_targets():
    runs = [system([0.2, np.nan]), system([0.4, np.nan])]
    np.testing.assert_allclose(average_runs(runs)["ndcg@100"], [0.3, np.nan])


def test_runs_of_other_metrics_are_refused():
    run = system([0.2, 0.3])
    other = dataclasses.replace(run, values={**run.values, "recall@20": run["ndcg@100"]})
    with pytest.raises(UserError, match=r"runs must have the same metrics, got .*recall@20 beside ndcg@100"):
        average_runs([run, other])


def test_equal_systems_do_not_differ():
    old, _ = pair_of(7)
    (row,) = compare({"old": old, "same": old}, "old", resamples=50)
    assert (row.difference, row.relative, row.low, row.high, row.p_value) == (0.0, 0.0, 0.0, 0.0, 1.0)


def test_a_difference_without_spread_is_as_certain_as_its_signs():
    (row,) = compare({"old": system([0.25, 0.5, 0.75]), "new": system([0.5, 0.75, 1.0])}, "old", resamples=50)
    assert (row.low, row.high) == (0.25, 0.25)
    assert row.p_value == stats.binomtest(3, 3).pvalue  # not more certain than three signs


def test_a_value_that_is_missing_is_said():
    old, new = pair_of(3)
    values = {**new.values, "ndcg@100": np.where(np.arange(len(new)) % 50 == 7, np.nan, new["ndcg@100"])}
    with pytest.raises(UserError, match=r'ndcg@100 must have a value .* got none for \d+ of \d+ of "new" or "old"'):
        compare({"old": old, "new": dataclasses.replace(new, values=values)}, "old", resamples=50)


def test_no_uplift_over_zero():
    (row,) = compare({"old": system([0.0, 0.0, 0.0]), "new": system([0.1, 0.2, 0.4])}, "old", resamples=50)
    assert np.isnan(row.relative)


def test_holm_by_hand():
    # Sorted .01, .02, .03, .04 times 4, 3, 2, 1 is .04, .06, .06, .04; running maximum .04, .06, .06, .06.
    np.testing.assert_allclose(holm(np.array([0.03, 0.01, 0.04, 0.02])), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])
    np.testing.assert_allclose(holm(np.array([0.2])), [0.2])
    assert holm(np.array([])).shape == (0,)


def test_correction_spans_all_comparisons():
    old, new = pair_of(8)
    _, third = pair_of(9)
    rows = compare({"old": old, "new": new, "third": third}, "old", resamples=50)
    assert [row.system for row in rows] == ["new", "third"]
    np.testing.assert_allclose([row.p_holm for row in rows], holm(np.array([row.p_value for row in rows])))


def test_metrics_can_be_chosen():
    old, new = pair_of(10)
    with pytest.raises(UserError, match=r'"recall@20" was not computed'):
        compare({"old": old, "new": new}, "old", metrics=["recall@20"])


@pytest.mark.parametrize(
    ("users", "message"),
    [
        (pl.Series([0, 1, 7]), "1 of 3 missing and 1 others"),
        (pl.Series([0, 1]), "1 of 3 missing and 0 others"),
        (pl.Series([0, 1, 2, 3]), "0 of 3 missing and 1 others"),
        (pl.Series(["0", "1", "2"]), "one type, got String and Int64"),
    ],
)
def test_other_users_are_refused(users, message):
    with pytest.raises(UserError, match=message):
        compare({"old": system([0.1, 0.2, 0.3]), "new": system(np.full(len(users), 0.5), users=users)}, "old")


def test_another_split_is_refused():
    old = system([0.1, 0.2, 0.3])
    new = dataclasses.replace(old, num_target=np.array([3, 4, 4]))
    with pytest.raises(UserError, match="for 2 of 3 users"):
        compare({"old": old, "new": new}, "old")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"baseline": "none"}, 'baseline "none" has no results: choose from old, new'),
        ({"confidence": 95.0}, "between 0 and 1, got 95.0"),
        ({"resamples": 0}, "resamples must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    systems = dict(zip(("old", "new"), pair_of(11), strict=True))
    with pytest.raises(UserError, match=message):
        compare(systems, **{"baseline": "old", **arguments})


def test_comparison_needs_two_systems_runs_and_users():
    old, _ = pair_of(12)
    with pytest.raises(UserError, match="nothing to be compared with"):
        compare({"old": old}, "old")
    with pytest.raises(UserError, match="at least one run"):
        compare({"old": old, "new": []}, "old")
    with pytest.raises(UserError, match="at least 2 users with held-out items, got 1"):
        compare({"old": system([0.5, np.nan]), "new": system([0.6, np.nan])}, "old")
