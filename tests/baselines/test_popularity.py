import jax
import jax.numpy as jnp
import numpy as np
import pytest

from piavae_jax.baselines import popularity_scores
from piavae_jax.data.csr import from_pairs, item_counts
from piavae_jax.data.prepared import HeldOut
from piavae_jax.evaluation import Evaluator
from piavae_jax.types import SparseBatch


def rows_of(*rows):
    return from_pairs(
        np.repeat(np.arange(len(rows)), [len(row) for row in rows]), np.concatenate(rows), num_rows=len(rows)
    )


def empty_batch(num_users):
    nothing = jnp.zeros(1, jnp.int32)
    per_user = jnp.zeros(num_users, jnp.int32)
    return SparseBatch(nothing, nothing + num_users, per_user, per_user, per_user == 0)


def test_scores_are_the_counts_for_every_user():
    counts = item_counts(rows_of([0, 1, 3], [1, 3], [3]), num_items=5)
    scores = popularity_scores(jnp.asarray(counts, jnp.int32), empty_batch(2))
    assert scores.dtype == jnp.float32
    np.testing.assert_array_equal(scores, [[1, 2, 0, 3, 0]] * 2)


def test_jit_changes_nothing():
    counts = jnp.asarray([3, 0, 7], jnp.int32)
    np.testing.assert_array_equal(
        jax.jit(popularity_scores)(counts, empty_batch(4)), popularity_scores(counts, empty_batch(4))
    )


def test_seen_items_give_way_to_the_next_popular():
    # Counts 1 3 2 0: the user who has item 1 gets 2, 0, 3; the one who has 0 and 2 gets 1, 3.
    held_out = HeldOut(np.arange(2, dtype=np.int32), rows_of([1], [0, 2]), rows_of([0], [3]))
    evaluator = Evaluator(held_out, num_items=4, metrics=["ndcg@2", "recall@1"])
    result = evaluator.evaluate(popularity_scores, jnp.asarray([1, 3, 2, 0], jnp.int32))
    np.testing.assert_allclose(result["ndcg@2"], 1 / np.log2(3), rtol=1e-6)
    np.testing.assert_array_equal(result["recall@1"], 0.0)


def test_counts_must_be_a_vector():
    with pytest.raises(AssertionError):
        popularity_scores(jnp.ones((2, 3)), empty_batch(2))
