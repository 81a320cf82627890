"""Batches of users at shapes that never change, cut from interactions on the device or on disk."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax.data.csr import CSR
from piavae_jax.errors import UserError
from piavae_jax.types import SparseBatch

_MAX_INTERACTIONS = 2**31 - 1
_CAPACITY_DRAWS = 16
_CAPACITY_MULTIPLE = 256


class DeviceRows(NamedTuple):
    """A CSR matrix on the device, with 32-bit offsets: up to 2^31 - 1 interactions."""

    indptr: jax.Array
    """int32[U + 1]."""
    indices: jax.Array
    """int32[nnz]."""


def to_device(rows: CSR) -> DeviceRows:
    """Copy binary rows to the default device.

    Raises:
      UserError: there are more interactions than 32-bit offsets can tell apart.
    """
    if rows.nnz > _MAX_INTERACTIONS:
        raise UserError(
            f"a device holds at most {_MAX_INTERACTIONS:,} interactions, got {rows.nnz:,}; train on fewer users"
        )
    # The copies matter: jax may otherwise share memory with a read-only map of the file.
    return DeviceRows(jnp.asarray(np.array(rows.indptr, np.int32)), jnp.asarray(np.array(rows.indices, np.int32)))


def gather_batch(rows: DeviceRows, users: jax.Array, *, capacity: int) -> SparseBatch:
    """Cut the rows of some users into a padded sparse batch; pure and jittable.

    Args:
      rows: the interactions of all users.
      users: int32[B], row numbers; -1 pads the batch.
      capacity: N, at least the interactions of these users together.

    Returns:
      A `SparseBatch` with N slots.
    """
    starts = rows.indptr[users]
    lengths = jnp.where(users >= 0, rows.indptr[users + 1] - starts, 0)
    slots = jnp.arange(capacity, dtype=jnp.int32)
    in_rows, real = _slot_rows(lengths, slots)
    sources = starts[in_rows] + slots - (jnp.cumsum(lengths) - lengths)[in_rows]
    items = jnp.where(real, rows.indices.at[sources].get(mode="clip"), 0)
    return unpack_batch(PackedBatch(items, lengths, users))


def _slot_rows(lengths: jax.Array, slots: jax.Array) -> tuple[jax.Array, jax.Array]:
    """int32[N] and bool[N]: the row of each slot, and whether the slot holds an interaction."""
    row_numbers = jnp.arange(lengths.shape[0], dtype=jnp.int32)
    return jnp.repeat(row_numbers, lengths, total_repeat_length=len(slots)), slots < jnp.sum(lengths, dtype=jnp.int32)


class PackedBatch(NamedTuple):
    """What of a `SparseBatch` the device cannot work out: half of its bytes. Leading axes stack batches."""

    items: jax.Array
    """int32[..., N], row after row, zero in slots past the last interaction."""
    lengths: jax.Array
    """int32[..., B]."""
    users: jax.Array
    """int32[..., B], row numbers; -1 pads the batch."""


def unpack_batch(packed: PackedBatch) -> SparseBatch:
    """Complete a packed batch on the device; pure and jittable."""
    items, lengths, users = packed
    in_rows, real = _slot_rows(lengths, jnp.arange(len(items), dtype=jnp.int32))
    return SparseBatch(items, jnp.where(real, in_rows, len(users)), lengths, users, row_mask=users >= 0)


def pack_batches(rows: CSR, users: np.ndarray, *, capacity: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the rows of some users for many batches on the host, as `gather_batch` reads one on the device.

    Only the pages that hold these rows are read where `rows` is a map of a file.

    Args:
      rows: the interactions of all users.
      users: int32[..., B], row numbers of each batch; -1 pads it.
      capacity: N, at least the interactions of each batch.

    Returns:
      The fields of `PackedBatch` as NumPy arrays, with the leading axes of `users`.
    """
    items = np.zeros((*users.shape[:-1], capacity), np.int32)
    lengths = np.zeros(users.shape, np.int32)
    for batch in np.ndindex(users.shape[:-1]):  # one at a time, so that the temporary arrays stay in the cache
        starts = rows.indptr[users[batch]]
        counts = np.where(users[batch] >= 0, rows.indptr[users[batch] + 1] - starts, 0)
        ends = np.cumsum(counts)
        sources = np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1])
        items[batch][: ends[-1]] = rows.indices[sources]
        lengths[batch] = counts
    return items, lengths, users


class Capacity(NamedTuple):
    """Slots that batches need, fixed once from the data."""

    batch: int
    """N of a whole batch; no epoch's order exceeds it."""
    shard: int
    """N of one of a batch's equal shards of rows; an order may exceed it, rarely."""


def _batch_loads(lengths: np.ndarray, order: np.ndarray, shards: int) -> np.ndarray:
    """int64[steps, shards], interactions of each shard of each batch."""
    order = pad_to_shards(order, shards)
    loads = np.where(order >= 0, lengths[order], 0)
    return loads.reshape(len(order), shards, -1).sum(axis=-1)


def pad_to_shards(order: np.ndarray, shards: int) -> np.ndarray:
    """Widen int32[steps, B] with -1 until equal shards of each batch have whole rows."""
    return np.pad(order, ((0, 0), (0, -order.shape[1] % shards)), constant_values=-1)


def _in_batches(users: np.ndarray, batch_size: int) -> np.ndarray:
    steps = -(-len(users) // batch_size)
    return np.pad(users.astype(np.int32), (0, steps * batch_size - len(users)), constant_values=-1).reshape(
        steps, batch_size
    )


def _round_up(count: int) -> int:
    return -(-max(count, 1) // _CAPACITY_MULTIPLE) * _CAPACITY_MULTIPLE


def plan_capacity(lengths: np.ndarray, *, batch_size: int, shards: int = 1) -> Capacity:
    """Choose N from the data: the largest load seen in a number of shuffles drawn with a fixed seed.

    Args:
      lengths: int[U], interactions of each user.
      batch_size: B.
      shards: devices that share a batch.
    """
    generator = np.random.default_rng(0)
    largest_batch, largest_shard = 0, 0
    for _ in range(_CAPACITY_DRAWS):
        loads = _batch_loads(lengths, _in_batches(generator.permutation(len(lengths)), batch_size), shards)
        largest_batch = max(largest_batch, int(loads.sum(axis=-1).max()))
        largest_shard = max(largest_shard, int(loads.max()))
    return Capacity(_round_up(largest_batch), _round_up(largest_shard))


def epoch_order(lengths: np.ndarray, *, batch_size: int, capacity: Capacity, key: jax.Array) -> np.ndarray:
    """Shuffle all users into batches, none over capacity.

    A shuffle with a batch over capacity (a few in a hundred) is drawn again, whatever the number of devices.

    Args:
      lengths: int[U], interactions of each user.
      batch_size: B.
      capacity: from `plan_capacity` on the same lengths and batch size.
      key: a PRNG key, consumed here.

    Returns:
      int32[steps, B], each user once; -1 pads the last batch.
    """
    attempt = 0
    while True:
        shuffled = jax.random.permutation(jax.random.fold_in(key, attempt), len(lengths))
        order = _in_batches(np.asarray(shuffled), batch_size)
        if _batch_loads(lengths, order, 1).max() <= capacity.batch:
            return order
        attempt += 1


def order_capacity(lengths: np.ndarray, order: np.ndarray, *, capacity: Capacity, shards: int) -> int:
    """N that each shard of these batches needs: the planned one, or the whole batch's when a shard exceeds it."""
    if shards == 1:
        return capacity.batch
    return capacity.shard if _batch_loads(lengths, order, shards).max() <= capacity.shard else capacity.batch
