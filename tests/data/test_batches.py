import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from piavae_jax.data.batches import (
    Capacity,
    PackedBatch,
    epoch_order,
    gather_batch,
    order_capacity,
    pack_batches,
    plan_capacity,
    to_device,
    unpack_batch,
)
from piavae_jax.data.csr import CSR, from_pairs

U, I = 23, 11


def random_rows(seed=0):
    dense = np.random.default_rng(seed).random((U, I)) < 0.3
    dense[3] = False
    users, items = np.nonzero(dense)
    return from_pairs(users, items, num_rows=U), dense


@pytest.mark.parametrize("users", [[0, 5, 22], [3], [4, -1, 3, -1, 7], [-1, -1]])
@pytest.mark.parametrize("spare", [0, 13])
def test_a_gathered_batch_is_those_rows(users, spare):
    rows, dense = random_rows()
    load = sum(int(dense[user].sum()) for user in users if user >= 0)
    batch = jax.jit(gather_batch, static_argnames="capacity")(
        to_device(rows), jnp.array(users, jnp.int32), capacity=max(load + spare, 1)
    )
    rebuilt = np.zeros((len(users), I), bool)
    real = np.asarray(batch.rows) < len(users)
    rebuilt[np.asarray(batch.rows)[real], np.asarray(batch.items)[real]] = True
    expected = np.stack([dense[user] if user >= 0 else np.zeros(I, bool) for user in users])
    np.testing.assert_array_equal(rebuilt, expected)
    np.testing.assert_array_equal(batch.lengths, expected.sum(axis=1))
    np.testing.assert_array_equal(batch.row_mask, np.array(users) >= 0)
    assert real.sum() == load
    assert np.all(np.diff(batch.rows) >= 0)
    assert np.all(np.asarray(batch.items)[~real] == 0)


@pytest.mark.parametrize("spare", [0, 13])
def test_batches_packed_on_the_host_are_those_cut_on_the_device(tmp_path, spare):
    rows, _ = random_rows()
    for name, array in rows._asdict().items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = CSR(*(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in rows._fields))
    users = np.array([[[0, 5, 22], [4, -1, 3]], [[-1, -1, -1], [3, 3, 1]]], np.int32)  # user 3 has no interaction
    capacity = int(rows.lengths[users].sum(axis=-1, where=users >= 0).max()) + spare
    packed = PackedBatch(*map(jnp.asarray, pack_batches(mapped, users, capacity=capacity)))
    for index in np.ndindex(2, 2):
        actual = jax.jit(unpack_batch)(jax.tree.map(lambda leaf, index=index: leaf[index], packed))
        expected = gather_batch(to_device(rows), jnp.asarray(users[index]), capacity=capacity)
        chex.assert_trees_all_equal(actual, expected)
        chex.assert_trees_all_equal_dtypes(actual, expected)


@pytest.mark.parametrize("batch_size", [4, 23, 50])
def test_an_epoch_sees_every_user_once(batch_size):
    lengths = random_rows()[0].lengths
    capacity = plan_capacity(lengths, batch_size=batch_size)
    order = epoch_order(lengths, batch_size=batch_size, capacity=capacity, key=jax.random.key(0))
    assert order.shape == (-(-U // batch_size), batch_size)
    assert sorted(order[order >= 0]) == list(range(U))
    assert np.all(order.reshape(-1)[U:] == -1)
    assert np.where(order >= 0, lengths[order], 0).sum(axis=1).max() <= capacity.batch


def test_an_order_over_capacity_is_drawn_again():
    lengths = np.array([100, 100, 1, 1])  # capacity for one long user a batch: half of all shuffles do not fit
    capacity = Capacity(batch=101, shard=101)
    for seed in range(20):
        order = epoch_order(lengths, batch_size=2, capacity=capacity, key=jax.random.key(seed))
        assert lengths[order].sum(axis=1).max() <= 101


def test_shuffles_differ_between_keys_and_repeat_with_one():
    lengths = np.ones(200, np.int64)
    capacity = plan_capacity(lengths, batch_size=50)
    first, again, other = (
        epoch_order(lengths, batch_size=50, capacity=capacity, key=jax.random.key(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9


def test_shards_get_the_planned_capacity_or_the_whole_batchs():
    lengths = np.array([5, 5, 1, 1])
    capacity = Capacity(batch=12, shard=6)
    assert order_capacity(lengths, np.array([[0, 2, 1, 3]]), capacity=capacity, shards=2) == 6
    assert order_capacity(lengths, np.array([[0, 1, 2, 3]]), capacity=capacity, shards=2) == 12
    assert order_capacity(lengths, np.array([[0, 1, 2, 3]]), capacity=capacity, shards=1) == 12
