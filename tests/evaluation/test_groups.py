import numpy as np
import polars as pl
import pytest

from piavae_jax.errors import UserError
from piavae_jax.evaluation import PAPER_GROUPS, UserMetrics, groups_from, summarize, summarize_groups


def metrics_of(histories, values, *, held_out=1):
    """Users of whom `held_out` interactions were held out."""
    histories = np.asarray(histories)
    targets = np.full(len(histories), held_out)
    return UserMetrics(pl.Series(np.arange(len(histories))), histories - targets, targets, {"ndcg@100": values})


def test_paper_groups_are_those_of_table_3():
    assert [group.label for group in PAPER_GROUPS] == ["5-10", "11-50", "51-100", "over 100"]


def test_edges_belong_to_the_lower_group():
    histories = np.array([4, 5, 10, 11, 50, 51, 100, 101, 5000])
    members = [histories[group.members(histories)].tolist() for group in PAPER_GROUPS]
    assert members == [[5, 10], [11, 50], [51, 100], [101, 5000]]


def test_groups_go_by_the_whole_history():
    # Ten interactions, of which two are held out: 5-10, whichever part is larger.
    summaries = summarize_groups(metrics_of([10, 11], np.array([0.25, 0.75]), held_out=8))
    assert [summary.users for summary in summaries] == [1, 1, 0, 0]
    assert [summary.metrics["ndcg@100"].mean for summary in summaries[:2]] == [0.25, 0.75]


def test_group_summaries_agree_with_a_filter():
    rng = np.random.default_rng(0)
    histories = rng.integers(1, 200, 500)
    values = np.where(rng.random(500) < 0.1, np.nan, rng.random(500))
    for summary in summarize_groups(metrics_of(histories, values)):
        low, high = summary.group.low, summary.group.high or 10**9
        chosen = [value for history, value in zip(histories, values, strict=True) if low <= history <= high]
        assert summary.users == len(chosen)
        assert summary.metrics["ndcg@100"] == summarize(np.array(chosen))
        assert summary.metrics["ndcg@100"].users_without_targets == sum(map(np.isnan, chosen)) > 0


def test_empty_group_has_no_mean():
    (summary,) = summarize_groups(metrics_of([3], np.array([0.5])), groups_from([100]))
    assert summary.users == 0
    assert np.isnan(summary.metrics["ndcg@100"].mean)


def test_custom_edges():
    groups = groups_from([0, 1, 20])
    assert [(group.low, group.high) for group in groups] == [(0, 0), (1, 19), (20, None)]
    assert sum(int(group.members(np.arange(40)).sum()) for group in groups) == 40


@pytest.mark.parametrize("edges", [[], [5, 5], [11, 5], [-1, 4]])
def test_bad_edges_are_named(edges):
    with pytest.raises(UserError, match="group edges must be increasing"):
        groups_from(edges)
