import jax
import jax.numpy as jnp
import numpy as np
import objective_oracle as oracle
import pytest
from batch_factory import dense_rows, sparse_batch

from piavae_jax import UserError, masking, sampling
from piavae_jax.types import Posterior

I = 40
ROWS = dense_rows([0, 1, 12, 40], I)
KEY = jax.random.key(7)


def test_input_of_a_hand_made_row():
    # Four items, two kept with probability 0.5: each weighs 1 / (0.5 * sqrt(4)).
    rows = jnp.array([[1.0, 1.0, 1.0, 1.0, 0.0]])
    kept = jnp.array([[True, False, True, False, True]])
    np.testing.assert_allclose(
        masking.encoder_input(rows, kept=kept, keep_prob=0.5), [[1.0, 0.0, 1.0, 0.0, 0.0]], rtol=1e-6
    )


@pytest.mark.parametrize("padding", [0, 5])
def test_sparse_and_dense_rows_draw_the_same_mask(padding):
    batch = sparse_batch(ROWS, padding=padding)
    dense = masking.bernoulli_mask(jnp.asarray(ROWS), keep_prob=0.6, key=KEY)
    thin = masking.bernoulli_mask(batch, keep_prob=0.6, key=KEY)
    np.testing.assert_array_equal(thin[: int(ROWS.sum())], np.asarray(dense)[ROWS > 0])


def test_input_equals_the_oracle():
    kept = np.asarray(masking.bernoulli_mask(jnp.asarray(ROWS), keep_prob=0.6, key=KEY))
    expected = oracle.encoder_input(ROWS, kept, 0.6)
    np.testing.assert_allclose(masking.bernoulli(jnp.asarray(ROWS), keep_prob=0.6, key=KEY), expected, rtol=1e-6)
    thin = masking.bernoulli(sparse_batch(ROWS, padding=4), keep_prob=0.6, key=KEY)
    np.testing.assert_allclose(thin.values[:-4], expected[ROWS > 0], rtol=1e-6)
    np.testing.assert_array_equal(thin.values[-4:], 0.0)


def test_a_users_mask_depends_on_neither_position_nor_company():
    batch = sparse_batch(ROWS)
    alone = sparse_batch(ROWS[2:3])._replace(users=batch.users[2:3])
    together = masking.bernoulli_mask(batch, keep_prob=0.5, key=KEY)
    np.testing.assert_array_equal(
        masking.bernoulli_mask(alone, keep_prob=0.5, key=KEY), together[np.asarray(batch.rows) == 2]
    )


def test_masks_keep_the_share_they_should_and_differ_between_users_items_and_keys():
    rows = jnp.ones((200, 500))
    kept = masking.bernoulli_mask(rows, keep_prob=0.3, key=KEY)
    assert abs(kept.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / kept.size)
    assert len({tuple(row) for row in np.asarray(kept).tolist()}) == 200
    assert len({tuple(column) for column in np.asarray(kept).T.tolist()}) == 500
    other = masking.bernoulli_mask(rows, keep_prob=0.3, key=jax.random.key(8))
    expected = 0.3**2 + 0.7**2
    assert abs((kept == other).mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / kept.size)


def test_the_masked_input_is_right_on_average():
    rows = jnp.asarray(ROWS[2:3])
    keys = jax.random.split(KEY, 4000)
    mean = jax.vmap(lambda key: masking.bernoulli(rows, keep_prob=0.5, key=key))(keys).mean(axis=0)
    np.testing.assert_allclose(mean, masking.encoder_input(rows), atol=4 / np.sqrt(12 * 4000))


def test_keep_prob_one_is_the_clean_input():
    batch = sparse_batch(ROWS, padding=2)
    np.testing.assert_array_equal(
        masking.bernoulli(batch, keep_prob=1.0, key=KEY).values, masking.encoder_input(batch).values
    )


def test_jit_changes_nothing():
    batch = sparse_batch(ROWS)
    jitted = jax.jit(lambda batch, key: masking.bernoulli(batch, keep_prob=0.5, key=key).values)
    np.testing.assert_allclose(jitted(batch, KEY), masking.bernoulli(batch, keep_prob=0.5, key=KEY).values, rtol=1e-6)


@pytest.mark.parametrize("keep_prob", [0, -0.1, 1.5])
def test_a_keep_prob_that_is_no_probability_is_refused(keep_prob):
    with pytest.raises(UserError, match=r"keep_prob must be in \(0, 1\], got"):
        masking.bernoulli_mask(jnp.asarray(ROWS), keep_prob=keep_prob, key=KEY)


def test_z_has_the_moments_of_the_posterior():
    posterior = Posterior(jnp.array([[1.0, -2.0]]), jnp.log(jnp.array([[0.25, 9.0]])))
    z = jax.vmap(lambda key: sampling.reparameterize(posterior, key=key))(jax.random.split(KEY, 20_000))[:, 0]
    np.testing.assert_allclose(z.mean(axis=0), [1.0, -2.0], atol=0.09)
    np.testing.assert_allclose(z.std(axis=0), [0.5, 3.0], rtol=0.03)


def test_noise_belongs_to_the_user_not_the_row():
    posterior = Posterior(jnp.zeros((3, 4)), jnp.zeros((3, 4)))
    users = jnp.array([5, 9, 2], jnp.int32)
    z = sampling.reparameterize(posterior, key=KEY, users=users)
    turned = sampling.reparameterize(posterior, key=KEY, users=users[::-1])
    np.testing.assert_array_equal(z, turned[::-1])
    assert len(np.unique(z)) == z.size
