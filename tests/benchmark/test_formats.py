import pytest

from piavae_jax.benchmark.formats import (
    format_count,
    format_mean,
    format_p,
    format_score,
    format_seconds,
    metric_title,
)
from piavae_jax.evaluation import MetricSummary


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "< 0.1 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (99.4, "99 s"),
        (100, "2 min"),
        (5_900, "98 min"),
        (9_000, "2.5 h"),
    ],
)
def test_seconds(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [(0.41967, False, ".4197"), (0.016, True, "+.0160"), (-0.016, True, "-.0160"), (1.0, False, "1.0000")],
)
def test_scores(value, sign, text):
    assert format_score(value, sign=sign) == text


def test_what_is_not_known_is_a_dash():
    assert format_score(float("nan")) == format_mean(MetricSummary(float("nan"), float("nan"), 0, 3)) == "-"


def test_means_counts_p_values_and_titles():
    assert format_mean(MetricSummary(0.41967, 0.00694, 600, 0)) == ".4197 ± .0069"
    assert (format_count(3_497), format_count(999_999), format_count(4_481_234)) == ("3,497", "999,999", "4.48 M")
    assert (format_p(0.0312), format_p(0.00009), format_p(1.0)) == (".0312", "< .0001", "1.0000")
    assert (metric_title("ndcg@100"), metric_title("recall@20"), metric_title("map@5")) == (
        "nDCG@100",
        "Recall@20",
        "map@5",
    )
