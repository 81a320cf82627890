import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batch_factory import dense_rows, sparse_batch

from piavae_jax import UserError, masking, sampling

I = 40
ROWS = dense_rows([0, 1, 12, 40, 7], I)
KEY = jax.random.key(7)
draw = jax.jit(masking.length_mask, static_argnames="min_share")
draw_input = jax.jit(masking.length_aware, static_argnames="min_share")


def numbers_kept(rows, kept):
    return (np.asarray(kept) & (np.asarray(rows) > 0)).sum(axis=1)


def test_input_of_a_user_with_one_item_is_clean():
    rows = jnp.array([[0.0, 1.0, 0.0]])
    np.testing.assert_allclose(masking.length_aware(rows, key=KEY), rows, rtol=1e-6)


@pytest.mark.parametrize("padding", [0, 5])
def test_sparse_and_dense_rows_draw_the_same_mask(padding):
    dense = draw(jnp.asarray(ROWS), key=KEY)
    thin = draw(sparse_batch(ROWS, padding=padding), key=KEY)
    np.testing.assert_array_equal(thin[: int(ROWS.sum())], np.asarray(dense)[ROWS > 0])
    assert not np.any(np.asarray(dense)[ROWS == 0])


def test_what_stays_are_the_interactions_of_smallest_uniforms():
    _, which_key = jax.random.split(KEY)
    uniforms = np.asarray(sampling.interaction_uniforms(jnp.asarray(ROWS), key=which_key))
    kept = np.asarray(draw(jnp.asarray(ROWS), key=KEY))
    for row, values, stays in zip(ROWS > 0, uniforms, kept, strict=True):
        number = stays.sum()
        assert set(np.flatnonzero(stays)) == set(np.flatnonzero(row)[np.argsort(values[row])[:number]])


def test_the_order_of_a_rows_interactions_does_not_matter():
    batch = sparse_batch(ROWS)
    order = np.lexsort((np.random.default_rng(0).permutation(len(batch.items)), np.asarray(batch.rows)))
    mixed = batch._replace(items=batch.items[order])
    np.testing.assert_array_equal(draw(mixed, key=KEY), draw(batch, key=KEY)[order])


@pytest.mark.parametrize(("min_share", "smallest"), [(0.0, 1), (0.35, 3), (1.0, 8)])
def test_the_number_kept_is_drawn_evenly_and_so_are_its_members(min_share, smallest):
    rows = jnp.asarray(np.tile([1, 0, 1, 1, 1, 1, 1, 1, 0, 1], (6000, 1)), jnp.float32)  # 8 items
    kept = draw(rows, min_share=min_share, key=KEY)
    numbers = np.bincount(numbers_kept(rows, kept), minlength=9)
    assert numbers[:smallest].sum() == 0
    expected = 6000 / (9 - smallest)
    assert np.all(np.abs(numbers[smallest:] - expected) < 4 * np.sqrt(expected))
    shares = np.asarray(kept).mean(axis=0)[np.asarray(rows[0]) > 0]
    np.testing.assert_allclose(shares, (smallest + 8) / 2 / 8, atol=5 * 0.5 / np.sqrt(6000))


@pytest.mark.parametrize(("share", "count"), [(3, 50), (6, 35), (2, 15), (3, 33)])
def test_the_fewest_are_a_share_rounded_up_and_no_further(share, count):
    rows = jnp.ones((2000, count))
    numbers = numbers_kept(rows, draw(rows, min_share=share / 10, key=KEY))
    assert numbers.min() == -(-share * count // 10)


def test_a_users_mask_depends_on_neither_position_nor_company():
    batch = sparse_batch(ROWS)
    alone = sparse_batch(ROWS[2:3])._replace(users=batch.users[2:3])
    np.testing.assert_array_equal(draw(alone, key=KEY), draw(batch, key=KEY)[np.asarray(batch.rows) == 2])


def test_input_is_the_same_on_sparse_and_dense_rows_and_right_for_every_number_kept():
    rows = jnp.asarray(ROWS)
    dense = draw_input(rows, key=KEY)
    numbers, lengths = numbers_kept(rows, draw(rows, key=KEY)), ROWS.sum(axis=1)
    # m items of weight n / m / sqrt(n) add up to sqrt(n), whatever m.
    assert np.all(numbers[1:] >= 1)
    np.testing.assert_allclose(dense.sum(axis=1), np.sqrt(lengths), rtol=1e-5)
    thin = draw_input(sparse_batch(ROWS, padding=4, padded_rows=2), key=KEY)
    np.testing.assert_allclose(thin.values[:-4], np.asarray(dense)[ROWS > 0], rtol=1e-6)
    np.testing.assert_array_equal(thin.values[-4:], 0.0)


def test_the_masked_input_is_right_on_average():
    rows = jnp.asarray(ROWS[[0, 1, 4]])
    keys = jax.random.split(KEY, 4000)
    inputs = jax.jit(jax.vmap(lambda key: masking.length_aware(rows, key=key)))(keys)
    error = np.asarray(inputs.std(axis=0) / np.sqrt(len(keys)))
    assert np.all(np.abs(inputs.mean(axis=0) - masking.encoder_input(rows)) <= 5 * error + 1e-6)


def test_jit_changes_nothing():
    rows = jnp.asarray(ROWS)
    np.testing.assert_array_equal(masking.length_mask(rows, key=KEY), draw(rows, key=KEY))


def test_min_share_one_keeps_everything():
    batch = sparse_batch(ROWS, padding=2)
    clean = masking.encoder_input(batch).values
    np.testing.assert_allclose(draw_input(batch, min_share=1.0, key=KEY).values, clean, rtol=1e-6)


@pytest.mark.parametrize("min_share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(min_share):
    with pytest.raises(UserError, match=rf"min_share must be in \[0, 1\], got {min_share}"):
        masking.length_mask(jnp.asarray(ROWS), min_share=min_share, key=KEY)
