import jax.numpy as jnp
import numpy as np
import pytest

from piavae_jax.data.csr import CSR, from_pairs
from piavae_jax.evaluation import NO_ITEM
from piavae_jax.report.lists import describe_lists, draw_history, gini, rank_items
from piavae_jax.report.systems import Scorer


def scores_of(table, batch):
    """A scorer whose parameters are every user's scores."""
    return table[jnp.maximum(batch.users, 0)]


def rows_of(*rows):
    users = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return from_pairs(users, np.array([item for row in rows for item in row]), num_rows=len(rows))


def test_lists_are_the_best_unseen_items():
    generator = np.random.default_rng(0)
    rows = rows_of([0, 3], [1], [2, 4, 5], [0], [6])
    table = generator.normal(size=(5, 7)).astype(np.float32)
    lists = rank_items(Scorer("x", scores_of, jnp.asarray(table), ""), rows, k=5, batch_size=2)
    for user, listed in enumerate(lists):
        masked = table[user].copy()
        masked[rows.row(user)] = -np.inf
        expected = np.argsort(-masked, kind="stable")[: min(5, 7 - len(rows.row(user)))]
        np.testing.assert_array_equal(listed[: len(expected)], expected)
        assert (listed[len(expected) :] == NO_ITEM).all()


def test_statistics_by_hand():
    lists = np.array([[0, 1], [0, NO_ITEM], [0, 2]])
    numbers = describe_lists(lists, np.array([8, 4, 2, 1]), 8)
    assert numbers.coverage == pytest.approx(3 / 4)
    assert numbers.novelty == pytest.approx((0 + 1 + 0 + 0 + 2) / 5)
    assert numbers.popularity == pytest.approx((8 + 4 + 8 + 8 + 2) / 5)
    assert numbers.gini == pytest.approx(gini(np.array([3, 1, 1, 0])))


@pytest.mark.parametrize("counts", [[1, 1, 1], [0, 0, 9], [3, 1, 1, 0], [5]])
def test_gini_is_half_the_relative_mean_difference(counts):
    counts = np.array(counts)
    differences = np.abs(counts[:, None] - counts[None, :]).mean()
    assert gini(counts) == pytest.approx(differences / (2 * counts.mean()), abs=1e-12)


def test_gini_does_not_depend_on_order_or_scale():
    counts = np.random.default_rng(1).integers(0, 9, 50)
    assert gini(counts) == pytest.approx(gini(7 * np.random.default_rng(2).permutation(counts)), abs=1e-12)


def test_history_is_drawn_without_repeats_and_padded():
    rows = rows_of([0, 3, 5, 6], [1], [])
    drawn = draw_history(rows, k=3)
    assert len(set(drawn[0])) == 3
    assert set(drawn[0]) <= {0, 3, 5, 6}
    assert drawn[1].tolist() == [1, NO_ITEM, NO_ITEM]
    assert drawn[2].tolist() == [NO_ITEM] * 3
    np.testing.assert_array_equal(drawn, draw_history(rows, k=3))
    many = CSR(np.array([0, 6] * 1).astype(np.int64), np.arange(6, dtype=np.int32))
    counts = sum(np.bincount(draw_history(many, k=3, seed=seed)[0], minlength=6) for seed in range(400))
    np.testing.assert_allclose(counts / 400, 0.5, atol=0.1)
