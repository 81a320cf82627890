import jax
import jax.numpy as jnp
import numpy as np
import pytest
from baseline_data import as_csr, random_rows
from batch_factory import sparse_batch

from piavae_jax import UserError
from piavae_jax.baselines.full_rank import full_rank_scores, zero_diagonal_regression
from piavae_jax.baselines.rows import gram_matrix


def textbook(rows, penalties):
    """B = I - P / diag(P), of the inverse in double precision."""
    inverse = np.linalg.inv(rows.T @ rows + np.diag(penalties))
    return np.where(np.eye(len(inverse)) > 0, 0.0, -inverse / np.diag(inverse))


@pytest.mark.parametrize("num_items", [1, 2, 40, 1_100])  # 1,100 items are more than two blocks
def test_weights_are_those_of_the_textbook(num_items):
    rows = random_rows(60, num_items)
    penalties = np.linspace(5.0, 15.0, num_items)
    weights = zero_diagonal_regression(gram_matrix(as_csr(rows), num_items), penalties)["weights"]
    np.testing.assert_allclose(weights, textbook(rows, penalties), rtol=1e-4, atol=1e-5)


def test_weights_are_solved_for_in_the_memory_of_the_gram_matrix():
    gram = gram_matrix(as_csr(random_rows(20, 12)), 12)
    assert zero_diagonal_regression(gram, np.ones(12))["weights"] is gram


def test_each_item_is_a_ridge_regression_on_the_others():
    rows, penalties, item = random_rows(50, 8), np.full(8, 3.0), 2
    weights = zero_diagonal_regression(gram_matrix(as_csr(rows), 8), penalties)["weights"]
    others = np.delete(rows, item, axis=1)
    expected = np.linalg.solve(others.T @ others + 3.0 * np.eye(7), others.T @ rows[:, item])
    np.testing.assert_allclose(np.delete(weights[:, item], item), expected, rtol=1e-4, atol=1e-5)


def test_too_little_penalty_for_single_precision_is_refused():
    with pytest.raises(UserError, match="regularization must keep the 3 items' matrix positive definite"):
        zero_diagonal_regression(np.full((3, 3), 7.0, np.float32), np.zeros(3))


def test_scores_are_a_product_with_the_rows():
    rows = random_rows(6, 9, seed=4)  # the first is empty
    weights = np.random.default_rng(0).normal(size=(9, 9)).astype(np.float32)
    batch = sparse_batch(rows, padding=5, padded_rows=1)
    scores = full_rank_scores({"weights": jnp.asarray(weights)}, batch)
    np.testing.assert_allclose(scores[:6], rows @ weights, atol=1e-5)
    np.testing.assert_array_equal(scores[6], 0.0)
    np.testing.assert_allclose(jax.jit(full_rank_scores)({"weights": jnp.asarray(weights)}, batch), scores, atol=1e-6)
