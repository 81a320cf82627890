import numpy as np
import pytest
from dense_oracle import ranked

from piavae_jax.evaluation import NO_ITEM
from piavae_jax.serving import ranking
from piavae_jax.serving.ranking import rank_rows


def check(scores, k, *, excluded=None, penalty=None):
    before = scores.copy()
    result = rank_rows(scores, k, excluded=excluded, penalty=penalty)
    np.testing.assert_array_equal(scores, before)
    allowed = np.ones(scores.shape, bool)
    if excluded is not None:
        allowed[excluded] = False
    if penalty is not None:
        allowed &= np.isfinite(penalty)[None, :]
    for row in range(len(scores)):
        expected = ranked(scores[row], k, allowed[row])
        found = result.items[row]
        np.testing.assert_array_equal(found[: len(expected)], expected)
        assert (found[len(expected) :] == NO_ITEM).all()
        np.testing.assert_array_equal(result.scores[row, : len(expected)], scores[row, expected])
        assert (result.scores[row, len(expected) :] == -np.inf).all()


@pytest.mark.parametrize("chunk_bytes", [2**20, 400])
@pytest.mark.parametrize("levels", [1, 2, 5, 10**6])
@pytest.mark.parametrize("k", [1, 7, 30, 99])
def test_lists_are_those_of_a_stable_sort_whatever_the_ties(k, levels, chunk_bytes, monkeypatch):
    monkeypatch.setattr(ranking, "_CHUNK_BYTES", chunk_bytes)
    rng = np.random.default_rng(k + levels)
    scores = rng.integers(0, levels, (9, 30)).astype(np.float32)
    excluded = np.nonzero(rng.random((9, 30)) < np.linspace(0, 1, 9)[:, None])
    penalty = np.where(rng.random(30) < 0.3, -np.inf, 0).astype(np.float32)
    check(scores, k)
    check(scores, k, excluded=excluded)
    check(scores, k, penalty=penalty)
    check(scores, k, excluded=excluded, penalty=penalty)


def test_scores_that_are_minus_infinity_are_no_recommendations():
    check(np.array([[-np.inf, 1, -np.inf], [-np.inf] * 3, [2, 2, 2]], np.float32), 2)


def test_one_item_and_no_rows():
    check(np.ones((2, 1), np.float32), 3)
    assert rank_rows(np.empty((0, 4), np.float32), 2, excluded=None, penalty=None).items.shape == (0, 2)
