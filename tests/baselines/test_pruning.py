import jax
import jax.numpy as jnp
import numpy as np
import pytest
from baseline_data import random_rows
from batch_factory import sparse_batch

from piavae_jax import UserError
from piavae_jax.baselines import full_rank_scores, prune, pruned_scores

I = 1_100  # more rows than are ordered at a time
WEIGHTS = np.random.default_rng(0).normal(size=(I, I)).astype(np.float32)
BATCH = sparse_batch(random_rows(5, I, density=0.02), padding=4, padded_rows=2)


def dense(pruned):
    weights = np.zeros((len(pruned.items), len(pruned.items)), np.float32)
    np.put_along_axis(weights, np.asarray(pruned.items), np.asarray(pruned.weights), axis=1)
    return weights


def test_the_largest_magnitudes_of_each_row_stay():
    magnitudes = np.abs(WEIGHTS)
    least_kept = np.sort(magnitudes, axis=1)[:, [-7]]
    np.testing.assert_array_equal(dense(prune(WEIGHTS, per_item=7)), np.where(magnitudes >= least_kept, WEIGHTS, 0.0))


def test_signs_count_by_magnitude_by_hand():
    pruned = prune(np.array([[0.0, -3.0, 2.0], [1.0, 0.0, -0.5], [0.1, 0.2, 0.0]], np.float32), per_item=1)
    np.testing.assert_array_equal(pruned.items, [[1], [0], [1]])
    np.testing.assert_array_equal(pruned.weights, np.array([[-3.0], [1.0], [0.2]], np.float32))


def test_scores_are_those_of_the_same_weights_as_a_whole_matrix():
    pruned = prune(WEIGHTS, per_item=20)
    expected = full_rank_scores({"weights": jnp.asarray(dense(pruned))}, BATCH)
    np.testing.assert_allclose(jax.jit(pruned_scores)(pruned, BATCH), expected, atol=1e-5)
    np.testing.assert_allclose(pruned_scores(pruned, BATCH), expected, atol=1e-5)


def test_nothing_is_lost_when_every_weight_stays():
    pruned = prune(WEIGHTS, per_item=5_000)
    np.testing.assert_array_equal(dense(pruned), WEIGHTS)


def test_something_must_stay():
    with pytest.raises(UserError, match="per_item must be at least 1 weight, got 0"):
        prune(WEIGHTS, per_item=0)
