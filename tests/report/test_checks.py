import numpy as np
import pytest

from piavae_jax.evaluation import Comparison
from piavae_jax.report.checks import (
    check_baselines,
    check_collapse,
    check_overfitting,
    check_popularity,
    check_users,
)
from piavae_jax.report.latent import Latent
from piavae_jax.report.lists import ListStatistics
from piavae_jax.report.systems import Interval
from piavae_jax.types import Posterior


def latent(active, dim=20, logvar=-1.0):
    mean = np.zeros((50, dim), np.float32)
    mean[:, :active] = np.random.default_rng(0).normal(size=(50, active))
    return Latent(Posterior(mean, np.full_like(mean, logvar)), np.zeros((3, dim), np.float32), has_anchors=False)


def test_collapse_fires_below_a_tenth_of_active_units():
    fired, passed = check_collapse(latent(1)), check_collapse(latent(2))
    assert fired.fires is True
    assert passed.fires is False
    assert "1 of 20 latent units are active" in fired.number
    assert "10\u00a0%" in fired.rule


def test_collapse_fires_where_the_posterior_is_the_prior():
    assert check_collapse(latent(0, logvar=0.0)).fires is True


def test_collapse_does_not_apply_to_codes():
    assert check_collapse(latent(20, logvar=-np.inf)).fires is None


def records(values):
    best = int(np.argmax(values)) + 1
    return [{"epoch": n, "validation/ndcg@100": value, "best_epoch": best} for n, value in enumerate(values, start=1)]


@pytest.mark.parametrize(("last", "fires"), [(0.397, False), (0.395, True)])
def test_overfitting_fires_on_a_fall_of_more_than_one_per_cent(last, fires):
    fall, length = check_overfitting(records([0.1] * 10 + [0.4] + [0.39] * 20 + [last]))
    assert fall.fires is fires
    assert "in epoch 11, the best" in fall.number
    assert length.fires is False


def test_a_best_epoch_at_the_end_asks_for_more():
    fall, length = check_overfitting(records(np.linspace(0.1, 0.4, 40).tolist()))
    assert fall.fires is False
    assert length.fires is True
    assert all(check.fires is None for check in check_overfitting([]))


def test_popularity_rules_compare_with_the_histories():
    history = ListStatistics(coverage=0.5, gini=0.7, novelty=3.0, popularity=100.0)
    calm = check_popularity(ListStatistics(0.26, 0.79, 3.0, 149.0), history, k=20)
    biased = check_popularity(ListStatistics(0.24, 0.81, 3.0, 151.0), history, k=20)
    assert [check.fires for check in calm] == [False] * 3
    assert [check.fires for check in biased] == [True] * 3
    assert "1.51 times as many" in biased[0].number
    assert "24.0\u00a0%" in biased[2].number


def test_few_users_give_a_wide_interval():
    assert check_users(Interval(0.4, 0.381, 0.419, 600)).fires is False
    wide = check_users(Interval(0.4, 0.37, 0.43, 90))
    assert wide.fires is True
    assert "90 users give nDCG@100 to within .0300, 7.5\u00a0% of the mean" in wide.number


def comparison(low, high, metric="ndcg@100"):
    return Comparison("a", "EASE", metric, 9, 0.4, 0.4, (low + high) / 2, 0.0, low, high, 0.1, 0.1)


def test_a_baseline_must_be_beaten_beyond_doubt():
    rows = [comparison(0.01, 0.02), comparison(-0.01, 0.02), comparison(-0.02, -0.01), comparison(-1, 1, "recall@20")]
    above, unclear, below = check_baselines(rows)
    assert (above.fires, unclear.fires, below.fires) == (False, True, True)
    assert "do not show" in unclear.advice
    assert "better here" in below.advice
    assert "−.0150, 95\u00a0% interval −.0200 to −.0100" in below.number
