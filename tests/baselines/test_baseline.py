import jax.numpy as jnp
import numpy as np
import pytest
from baseline_data import as_csr, random_rows
from batch_factory import sparse_batch

from piavae_jax import UserError
from piavae_jax.baselines import ease, popularity, popularity_scores, recommend
from piavae_jax.evaluation import NO_ITEM

ROWS = random_rows(30, 9)


def test_recommendations_are_the_best_unseen_items():
    shown = sparse_batch(random_rows(4, 9, seed=1), padding=3)
    baseline = ease(regularization=2.0)
    params = baseline.fit(as_csr(ROWS), 9)
    ranked = recommend(baseline.score, params, shown, k=4)
    scores = np.where(random_rows(4, 9, seed=1) > 0, -np.inf, baseline.score(params, shown))
    np.testing.assert_array_equal(ranked.items, np.argsort(-scores, axis=1, kind="stable")[:, :4])
    np.testing.assert_array_equal(ranked.scores, -np.sort(-scores, axis=1)[:, :4])


def test_lists_end_with_the_catalogue():
    ranked = recommend(popularity_scores, jnp.asarray([1.0, 2.0]), sparse_batch(np.array([[0.0, 1.0]])), k=20)
    np.testing.assert_array_equal(ranked.items, [[0, NO_ITEM]])


def test_fitting_popularity_counts_users():
    np.testing.assert_array_equal(popularity().fit(as_csr(ROWS), 9), ROWS.sum(axis=0))


def test_nothing_is_recommended_in_lists_of_no_item():
    with pytest.raises(UserError, match="k must be at least 1 item, got 0"):
        recommend(popularity_scores, jnp.ones(2), sparse_batch(np.ones((1, 2))), k=0)


def test_rows_must_hold_something():
    with pytest.raises(UserError, match="at least one interaction"):
        popularity().fit(as_csr(np.zeros((3, 2))), 2)


def test_items_must_be_of_the_vocabulary():
    with pytest.raises(UserError, match="got item 7 with num_items 7"):
        popularity().fit(as_csr(ROWS), 7)
