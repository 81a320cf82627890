import jax
import jax.numpy as jnp
import numpy as np
from baseline_data import random_rows
from batch_factory import sparse_batch

from piavae_jax.baselines import full_rank_scores, low_rank_scores

RNG = np.random.default_rng(0)
ENCODER, DECODER = (RNG.normal(size=shape).astype(np.float32) for shape in ((9, 3), (3, 9)))
PARAMS = {"encoder": jnp.asarray(ENCODER), "decoder": jnp.asarray(DECODER)}
ROWS = random_rows(6, 9)  # the first is empty
BATCH = sparse_batch(ROWS, padding=5, padded_rows=1)


def test_scores_are_two_products():
    scores = low_rank_scores(PARAMS, BATCH)
    np.testing.assert_allclose(scores[:6], ROWS @ ENCODER @ DECODER, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(scores[jnp.asarray([0, 6])], 0.0)
    np.testing.assert_allclose(jax.jit(low_rank_scores)(PARAMS, BATCH), scores, atol=1e-6)


def test_they_are_those_of_the_product_as_a_whole_matrix():
    whole = full_rank_scores({"weights": jnp.asarray(ENCODER @ DECODER)}, BATCH)
    np.testing.assert_allclose(low_rank_scores(PARAMS, BATCH), whole, rtol=1e-5, atol=1e-5)
