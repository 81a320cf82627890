import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ranking_oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from piavae_jax.errors import UserError
from piavae_jax.evaluation import METRICS, Metric, ndcg_at_k, parse_metrics, recall_at_k


def values(metric, hits, num_targets, k):
    return np.asarray(metric(jnp.asarray(hits, bool), jnp.asarray(num_targets, jnp.int32), k))


def test_recall_by_hand():
    hits = [[1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 0]]
    np.testing.assert_allclose(values(recall_at_k, hits, [2, 3, 9], 4), [1.0, 2 / 3, 1 / 4], rtol=1e-6)
    np.testing.assert_allclose(values(recall_at_k, hits, [2, 3, 9], 1), [1.0, 1.0, 0.0], rtol=1e-6)


def test_ndcg_by_hand():
    # Ranks 1 and 3 of two held-out items: (1 + 1/2) / (1 + 1/log2(3)).
    np.testing.assert_allclose(values(ndcg_at_k, [[1, 0, 1]], [2], 3), [1.5 / (1 + 1 / np.log2(3))], rtol=1e-6)
    # The ideal stops at k: one place, taken by a hit, is perfect though two items were held out.
    np.testing.assert_allclose(values(ndcg_at_k, [[1, 0, 1]], [2], 1), [1.0], rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
class TestEveryMetric:
    def test_perfect_is_one(self, metric):
        hits = np.arange(100)[None, :] < np.array([[1], [7], [100], [100]])
        np.testing.assert_allclose(values(metric, hits, [1, 7, 100, 400], 100), 1.0, rtol=1e-6)

    def test_no_hit_is_zero(self, metric):
        np.testing.assert_array_equal(values(metric, np.zeros((2, 5)), [1, 50], 5), 0.0)

    def test_no_target_is_nan(self, metric):
        np.testing.assert_array_equal(np.isnan(values(metric, np.zeros((2, 5)), [0, 1], 5)), [True, False])

    def test_list_shorter_than_k_keeps_the_full_ideal(self, metric):
        hits = np.array([[1, 0, 1]])
        padded = np.pad(hits, ((0, 0), (0, 7)))
        np.testing.assert_allclose(values(metric, hits, [5], 10), values(metric, padded, [5], 10), rtol=1e-6)

    def test_ranks_past_k_do_not_count(self, metric):
        hits = np.array([[0, 1, 1, 1, 1]])
        np.testing.assert_array_equal(values(metric, hits, [5], 2), values(metric, hits[:, :2], [5], 2))

    def test_jit_changes_nothing(self, metric):
        hits = jnp.asarray(np.random.default_rng(0).random((4, 20)) < 0.3)
        counts = jnp.asarray([8, 9, 10, 11], jnp.int32)
        compiled = jax.jit(metric, static_argnums=2)(hits, counts, 10)
        np.testing.assert_allclose(compiled, metric(hits, counts, 10), rtol=1e-6)

    def test_no_float_of_double_width(self, metric):
        with jax.enable_x64(True):
            assert metric(jnp.ones((1, 3), bool), jnp.asarray([3], jnp.int32), 3).dtype == jnp.float32


@settings(max_examples=60, deadline=None)
@given(data=st.data(), extra=st.integers(0, 30), k=st.sampled_from([1, 3, 20]))
def test_any_list_agrees_with_the_definition(data, extra, k):
    hits = np.array(data.draw(st.lists(st.booleans(), min_size=20, max_size=20)))
    found = np.flatnonzero(hits)
    targets = np.concatenate([found, 1000 + np.arange(extra)])  # the others are nowhere in the list
    for name, metric in METRICS.items():
        expected = getattr(ranking_oracle, name)(np.arange(20), targets, k)
        value = values(metric, hits[None, :], [len(targets)], k)[0]
        np.testing.assert_allclose(value, expected, rtol=1e-6, equal_nan=True)
        assert np.isnan(value) or -1e-6 <= value <= 1 + 1e-6


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_moving_a_hit_forward_never_lowers_ndcg(data):
    hits = np.array(data.draw(st.lists(st.booleans(), min_size=10, max_size=10)))
    source = data.draw(st.integers(1, 9))
    moved = hits.copy()
    moved[[source - 1, source]] = sorted(hits[[source - 1, source]], reverse=True)
    before, after = values(ndcg_at_k, [hits, moved], [10, 10], 10)
    assert after >= before - 1e-6


def test_labels_round_trip():
    assert parse_metrics(["ndcg@100", "recall@5"]) == (Metric("ndcg", 100), Metric("recall", 5))
    assert [metric.label for metric in parse_metrics(["ndcg@100", "recall@5"])] == ["ndcg@100", "recall@5"]


@pytest.mark.parametrize("label", ["ndcg", "ndcg@", "ndcg@0", "ndcg@-1", "ndcg@1.5", "ndcg@²", "mrr@10", "@10", ""])
def test_bad_label_is_named(label):
    with pytest.raises(UserError, match="must be ndcg or recall") as caught:
        parse_metrics([label])
    assert f'"{label}"' in str(caught.value)


def test_labels_must_be_a_list_of_distinct_names():
    with pytest.raises(UserError, match="at least one"):
        parse_metrics([])
    with pytest.raises(UserError, match="list"):
        parse_metrics("ndcg@100")
    with pytest.raises(UserError, match="differ"):
        parse_metrics(["ndcg@100", "ndcg@100"])
