import jax
import jax.numpy as jnp
import numpy as np
import objective_oracle as oracle
import pytest
from batch_factory import dense_rows, sparse_batch
from scipy import stats

from piavae_jax import UserError, masking

I = 40
ROWS = dense_rows([0, 1, 12, 40], I)
KEY = jax.random.key(7)
PROBS = jnp.array([0.9, 1.0, 0.3, 0.6])
draw_probs = jax.jit(masking.user_keep_probs, static_argnames=("low", "high"))
draw_input = jax.jit(masking.per_user, static_argnames=("low", "high"))


def test_input_of_hand_made_rows():
    # Two users of one and four items, probabilities 0.5 and 0.25: 1 / (0.5 * 1) and 1 / (0.25 * 2).
    rows = jnp.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    kept = jnp.array([[True, True, True, True], [False, True, False, True]])
    value = masking.encoder_input(rows, kept=kept, keep_prob=jnp.array([0.5, 0.25]))
    np.testing.assert_allclose(value, [[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 2.0]], rtol=1e-6)


def test_a_probability_a_user_is_that_of_each_user_alone():
    together = masking.bernoulli_mask(jnp.asarray(ROWS), keep_prob=PROBS, key=KEY)
    for row, prob in enumerate(PROBS.tolist()):
        alone = masking.bernoulli_mask(jnp.asarray(ROWS), keep_prob=prob, key=KEY)
        np.testing.assert_array_equal(together[row], alone[row])
    expected = oracle.encoder_input(ROWS, np.asarray(together), np.asarray(PROBS)[:, None])
    np.testing.assert_allclose(masking.bernoulli(jnp.asarray(ROWS), keep_prob=PROBS, key=KEY), expected, rtol=1e-6)
    thin = jax.jit(masking.bernoulli)(sparse_batch(ROWS, padding=4), keep_prob=PROBS, key=KEY)
    np.testing.assert_allclose(thin.values[:-4], expected[ROWS > 0], rtol=1e-6)
    np.testing.assert_array_equal(thin.values[-4:], 0.0)


def test_equal_probabilities_draw_the_bits_of_a_scalar():
    batch = sparse_batch(ROWS, padding=3)
    scalar = masking.bernoulli(batch, keep_prob=0.5, key=KEY)
    np.testing.assert_array_equal(masking.bernoulli(batch, keep_prob=jnp.full(4, 0.5), key=KEY).values, scalar.values)


def test_probabilities_are_drawn_evenly_from_their_range():
    probs = draw_probs(jnp.ones((4000, 1)), low=0.2, high=0.9, key=KEY)
    assert probs.min() >= 0.2
    assert probs.max() <= 0.9
    assert stats.kstest(np.asarray(probs), stats.uniform(0.2, 0.7).cdf).pvalue > 1e-3


def test_a_users_probability_depends_on_neither_position_nor_company_nor_form():
    batch = sparse_batch(ROWS)
    probs = draw_probs(batch, low=0.2, high=0.9, key=KEY)
    np.testing.assert_array_equal(draw_probs(jnp.asarray(ROWS), low=0.2, high=0.9, key=KEY), probs)
    alone = sparse_batch(ROWS[2:3])._replace(users=batch.users[2:3])
    np.testing.assert_array_equal(draw_probs(alone, low=0.2, high=0.9, key=KEY), probs[2:3])
    assert len(np.unique(probs)) == 4
    assert not np.any(probs == draw_probs(batch, low=0.2, high=0.9, key=jax.random.key(8)))


def test_per_user_input_is_the_same_on_sparse_and_dense_rows_and_right_on_average():
    rows = jnp.asarray(ROWS)
    dense = draw_input(rows, low=0.2, high=1.0, key=KEY)
    thin = draw_input(sparse_batch(ROWS, padding=2), low=0.2, high=1.0, key=KEY)
    np.testing.assert_allclose(thin.values[:-2], np.asarray(dense)[ROWS > 0], rtol=1e-6)
    np.testing.assert_allclose(masking.per_user(rows, low=0.2, high=1.0, key=KEY), dense, rtol=1e-6)  # without jit
    keys = jax.random.split(KEY, 3000)
    inputs = jax.jit(jax.vmap(lambda key: masking.per_user(rows, low=0.2, high=1.0, key=key)))(keys)
    error = np.asarray(inputs.std(axis=0) / np.sqrt(len(keys)))
    assert np.all(np.abs(inputs.mean(axis=0) - masking.encoder_input(rows)) <= 5 * error)


def test_a_range_of_one_probability_is_the_bernoulli_mask():
    batch = sparse_batch(ROWS)
    _, mask_key = jax.random.split(KEY)
    values = draw_input(batch, low=0.5, high=0.5, key=KEY).values
    np.testing.assert_allclose(values, masking.bernoulli(batch, keep_prob=0.5, key=mask_key).values, rtol=1e-6)


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.5), (0.6, 0.5), (0.5, 1.5)])
def test_a_range_of_no_probabilities_is_refused(low, high):
    with pytest.raises(UserError, match=f"low and high must satisfy 0 < low <= high <= 1, got {low} and {high}"):
        masking.per_user(jnp.asarray(ROWS), low=low, high=high, key=KEY)
