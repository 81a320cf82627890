import itertools

import numpy as np
import pytest
from fakes import METRICS, fake_metrics

from piavae_jax.benchmark.comparisons import compare_all, oriented, resampled_means
from piavae_jax.errors import UserError
from piavae_jax.evaluation import UserMetrics, compare, holm

RESAMPLES = 150  # no multiple of a batch


@pytest.fixture(scope="module")
def systems():
    return {
        name: fake_metrics(mean, seed=seed) for seed, (name, mean) in enumerate({"a": 0.5, "b": 0.4, "c": 0.42}.items())
    }


def shuffled(metrics):
    order = np.random.default_rng(5).permutation(len(metrics))
    values = {label: column[order] for label, column in metrics.values.items()}
    return UserMetrics(metrics.users[order], metrics.num_input[order], metrics.num_target[order], values)


def test_every_pair_is_what_compare_says_of_it(systems):
    rows = compare_all(systems, seed=3, resamples=RESAMPLES)
    pairs = list(itertools.combinations(systems, 2))
    assert [(row.system, row.baseline, row.metric) for row in rows] == [(*pair, m) for pair in pairs for m in METRICS]
    for row in rows:
        pair = {name: systems[name] for name in (row.system, row.baseline)}
        (alone,) = compare(pair, row.baseline, metrics=[row.metric], seed=3, resamples=RESAMPLES)
        np.testing.assert_allclose(row[3:-1], alone[3:-1], rtol=1e-11, atol=1e-13)


def test_correction_spans_the_pairs_of_a_metric(systems):
    rows = compare_all(systems, resamples=RESAMPLES)
    for metric in METRICS:
        of_metric = [row for row in rows if row.metric == metric]
        np.testing.assert_array_equal(
            [row.p_holm for row in of_metric], holm(np.array([row.p_value for row in of_metric]))
        )


def test_resampled_means_agree_with_gathered_users():
    values = np.random.default_rng(0).random((37, 3))
    drawn = np.random.default_rng(7).integers(0, 37, (RESAMPLES, 37))
    expected = [values[users].mean(axis=0) for users in drawn]
    np.testing.assert_allclose(resampled_means(values, seed=7, resamples=RESAMPLES), expected, rtol=1e-13)


def test_a_mean_of_one_user_by_hand():
    np.testing.assert_array_equal(resampled_means(np.array([[0.25, 0.5]]), seed=0, resamples=3), [[0.25, 0.5]] * 3)


def test_users_may_come_in_any_order(systems):
    mixed = {**systems, "b": shuffled(systems["b"])}
    assert compare_all(mixed, resamples=RESAMPLES) == compare_all(systems, resamples=RESAMPLES)


def test_seeds_are_averaged_by_user_first(systems):
    runs = [systems["b"], shuffled(systems["c"])]
    values = {label: (systems["b"][label] + systems["c"][label]) / 2 for label in METRICS}
    reference = systems["b"]
    mean = UserMetrics(reference.users, reference.num_input, reference.num_target, values)
    for row, expected in zip(
        compare_all({"a": systems["a"], "runs": runs}, resamples=RESAMPLES),
        compare_all({"a": systems["a"], "runs": mean}, resamples=RESAMPLES),
        strict=True,
    ):
        np.testing.assert_allclose(row[3:], expected[3:], rtol=1e-9)


def test_equal_systems_differ_by_nothing(systems):
    for row in compare_all({"a": systems["a"], "same": systems["a"]}, resamples=RESAMPLES):
        assert (row.difference, row.low, row.high, row.p_value, row.p_holm) == (0, 0, 0, 1, 1)


def test_a_shift_has_an_interval_of_its_own_size(systems):
    users, num_input, num_target = systems["a"].users, systems["a"].num_input, systems["a"].num_target
    eighths = {label: np.round(8 * column) / 8 for label, column in systems["a"].values.items()}  # floats without error
    shifted = {label: column + 0.25 for label, column in eighths.items()}
    metrics = {name: UserMetrics(users, num_input, num_target, v) for name, v in (("new", shifted), ("old", eighths))}
    for row in compare_all(metrics, resamples=RESAMPLES):
        np.testing.assert_allclose([row.difference, row.low, row.high], 0.25, rtol=1e-12)
        assert row.p_value == 2.0**-35  # of 36 users who all gain


def test_a_comparison_turned_round_is_the_other_one(systems):
    rows = compare_all(systems, resamples=RESAMPLES)
    backward = compare_all(dict(reversed(systems.items())), resamples=RESAMPLES)
    for row, expected in zip(oriented(rows, "c", "a"), oriented(backward, "c", "a"), strict=True):
        assert row[:4] == expected[:4] == ("c", "a", row.metric, 36)
        np.testing.assert_allclose(row[4:], expected[4:], rtol=1e-10)
    assert oriented(rows, "a", "c") == [row for row in rows if (row.system, row.baseline) == ("a", "c")]
    assert oriented(rows, "a", "other") == []


def test_one_system_has_no_pairs(systems):
    assert compare_all({"a": systems["a"]}) == compare_all({}) == []


def test_other_users_are_refused(systems):
    with pytest.raises(UserError, match="must be evaluated on the same users"):
        compare_all({**systems, "d": fake_metrics(0.4, num_users=41)}, resamples=RESAMPLES)
