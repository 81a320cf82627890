import chex
import jax
import jax.numpy as jnp
import numpy as np
import objective_oracle as oracle
import pytest
from batch_factory import dense_rows, sparse_batch

from piavae_jax import UserError, masking

I = 40
ROWS = dense_rows([0, 1, 12, 40], I)
KEY = jax.random.key(7)
split = jax.jit(masking.complementary)


def test_each_interaction_is_in_one_view():
    batch = sparse_batch(ROWS, padding=3)
    kept, dropped = masking.complementary_masks(batch, keep_prob=0.3, key=KEY)
    np.testing.assert_array_equal(kept ^ dropped, True)
    np.testing.assert_array_equal(kept, masking.bernoulli_mask(batch, keep_prob=0.3, key=KEY))


@pytest.mark.parametrize("keep_prob", [0.3, jnp.array([0.5, 0.4, 0.3, 0.8])])
def test_views_equal_the_oracle_on_sparse_and_dense_rows(keep_prob):
    kept, dropped = masking.complementary_masks(jnp.asarray(ROWS), keep_prob=keep_prob, key=KEY)
    first_prob = np.reshape(np.asarray(keep_prob), (-1, 1))
    expected = (
        oracle.encoder_input(ROWS, np.asarray(kept), first_prob),
        oracle.encoder_input(ROWS, np.asarray(dropped), 1 - first_prob),
    )
    assert not np.any(expected[0] * expected[1])
    chex.assert_trees_all_close(split(jnp.asarray(ROWS), keep_prob=keep_prob, key=KEY), expected, rtol=1e-6)
    views = split(sparse_batch(ROWS, padding=4), keep_prob=keep_prob, key=KEY)
    for view, dense in zip(views, expected, strict=True):
        np.testing.assert_allclose(view.values[:-4], dense[ROWS > 0], rtol=1e-6)
        np.testing.assert_array_equal(view.values[-4:], 0.0)


def test_both_views_are_right_on_average():
    rows = jnp.asarray(ROWS[2:])
    keys = jax.random.split(KEY, 4000)
    for inputs in jax.jit(jax.vmap(lambda key: masking.complementary(rows, keep_prob=0.3, key=key)))(keys):
        error = np.asarray(inputs.std(axis=0) / np.sqrt(len(keys)))
        assert np.all(np.abs(inputs.mean(axis=0) - masking.encoder_input(rows)) <= 5 * error)


@pytest.mark.parametrize("keep_prob", [0.0, 1.0])
def test_an_empty_view_is_refused(keep_prob):
    with pytest.raises(UserError, match=rf"keep_prob must be in \(0, 1\), got {keep_prob}"):
        masking.complementary(jnp.asarray(ROWS), keep_prob=keep_prob, key=KEY)
