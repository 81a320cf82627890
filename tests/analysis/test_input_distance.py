"""Distances and overlaps of sparse rows against dense ones."""

import numpy as np
import pytest
from batch_factory import dense_rows

from piavae_jax import analysis
from piavae_jax.analysis import input_distance
from piavae_jax.data.csr import from_pairs

DENSE = dense_rows([5, 0, 7, 3, 11, 1, 0], 12)
ROWS = from_pairs(*np.nonzero(DENSE), num_rows=len(DENSE))
ALL = np.array([(u, v) for u in range(7) for v in range(7)])


@pytest.fixture(params=[2**22, 1, 20])
def block(request, monkeypatch):
    monkeypatch.setattr(input_distance, "_BLOCK", request.param)


@pytest.mark.usefixtures("block")
def test_overlap_is_that_of_dense_rows():
    overlap = analysis.row_overlap(ROWS, ALL)
    first, second = DENSE[ALL[:, 0]], DENSE[ALL[:, 1]]
    np.testing.assert_array_equal(overlap.distance, np.abs(first - second).sum(axis=1))
    np.testing.assert_array_equal(overlap.shared, (first * second).sum(axis=1))
    np.testing.assert_array_equal(overlap.overlaps, (first * second).any(axis=1))


def test_signals_are_local_or_far_but_related():
    overlap = analysis.RowOverlap(shared=np.array([0, 2, 2, 0]), distance=np.array([3, 3, 9, 9]))
    np.testing.assert_array_equal(analysis.is_local(overlap, 3), [True, True, False, False])
    np.testing.assert_array_equal(analysis.is_far_but_related(overlap, 3), [False, False, True, False])


@pytest.mark.parametrize("user", range(7))
@pytest.mark.parametrize("delta", [1, 6, 10.5])
def test_neighbourhood_is_everyone_within_delta(user, delta):
    distances = np.abs(DENSE - DENSE[user]).sum(axis=1)
    expected = [other for other in range(7) if other != user and distances[other] <= delta]
    np.testing.assert_array_equal(analysis.neighbourhood(ROWS, user, delta), expected)


def test_one_item_is_dropped_of_each_row_that_has_one():
    shorter = analysis.drop_one_item(ROWS, seed=0)
    np.testing.assert_array_equal(shorter.lengths, np.maximum(ROWS.lengths - 1, 0))
    for user in range(7):
        assert set(shorter.row(user)) <= set(ROWS.row(user))
    firsts = {int(analysis.drop_one_item(ROWS, seed=seed).row(3)[0]) for seed in range(20)}
    assert len(firsts) == 2  # every item of the row has its turn


def test_no_pairs_are_no_trouble():
    assert analysis.row_overlap(ROWS, np.zeros((0, 2), int)).distance.shape == (0,)
