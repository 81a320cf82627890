"""Sparse rows times dense arrays: gathers and sorted segment sums over a batch's N interactions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from piavae_jax import item_parallel
from piavae_jax.errors import UserError
from piavae_jax.ordering import order_integers
from piavae_jax.types import Batch, EncoderInput, SparseBatch, SparseInput

_BLOCK = 4
_AT_ONCE = 1 << 27
"""Numbers that sums of blocks may take in memory before they are added up: half a gigabyte."""


def is_interaction(batch: SparseBatch) -> jax.Array:
    """bool[N], True where a slot holds an interaction and is not padding."""
    return batch.rows < batch.lengths.shape[0]


def row_sum(values: jax.Array, batch: SparseBatch) -> jax.Array:
    """Sum `values: [N, ...]` over the interactions of each row, giving `[B, ...]`; padding is dropped."""
    return jax.ops.segment_sum(values, batch.rows, num_segments=batch.lengths.shape[0], indices_are_sorted=True)


def row_lengths(batch: Batch) -> jax.Array:
    """float32[B], `n = |S|`: the number of positives of each row."""
    if isinstance(batch, SparseBatch):
        return batch.lengths.astype(jnp.float32)
    return jnp.sum(batch, axis=-1, dtype=jnp.float32)


def row_users(batch: Batch) -> jax.Array:
    """int32[B], the number that addresses each row's random draws; dense rows are numbered by position."""
    if isinstance(batch, SparseBatch):
        return batch.users
    return jnp.arange(batch.shape[0], dtype=jnp.int32)


class _Blocks(NamedTuple):
    """G blocks of up to `_BLOCK` consecutive slots; a block never crosses a run."""

    slots: jax.Array
    """int32[G], first slot of each block."""
    filled: jax.Array
    """int32[G], slots of the block that belong to its run; 0 or less for blocks that are padding."""
    runs: jax.Array
    """int32[G], non-decreasing, the run of each block; the number of runs marks padding."""


def _first_blocks(run_lengths: jax.Array) -> _Blocks:
    """The first block of every run, empty runs included."""
    starts = jnp.cumsum(run_lengths) - run_lengths
    return _Blocks(starts, jnp.minimum(run_lengths, _BLOCK), jnp.arange(len(run_lengths), dtype=jnp.int32))


def _further_blocks(run_lengths: jax.Array, num_slots: int) -> _Blocks:
    """All blocks after the first of their run."""
    num_runs = run_lengths.shape[0]
    per_run = jnp.maximum(-(-run_lengths // _BLOCK) - 1, 0)
    ends = jnp.cumsum(per_run)
    count = num_slots // _BLOCK  # no data can need more: before each such block lies a full one
    number = jnp.arange(count, dtype=jnp.int32)
    runs = jnp.repeat(jnp.arange(num_runs, dtype=jnp.int32), per_run, total_repeat_length=count)
    within = (number - (ends - per_run)[runs] + 1) * _BLOCK
    real = number < ends[-1]
    return _Blocks(
        slots=(jnp.cumsum(run_lengths) - run_lengths)[runs] + within,
        filled=jnp.where(real, jnp.minimum(run_lengths[runs] - within, _BLOCK), 0),
        runs=jnp.where(real, runs, num_runs),
    )


def _block_sums(table: jax.Array, sources: jax.Array, weights: jax.Array, blocks: _Blocks) -> jax.Array:
    """Sum `weights * table[sources]` over each block: `[G, F]`, added while gathered."""
    total = jnp.zeros((len(blocks.slots), table.shape[1]), table.dtype)
    for offset in range(_BLOCK):
        slots = blocks.slots + offset
        weight = jnp.where(offset < blocks.filled, jnp.take(weights, slots, mode="clip"), 0.0)
        total += weight[:, None] * jnp.take(table, jnp.take(sources, slots, mode="clip"), axis=0, mode="clip")
    return total


def _run_sums(table: jax.Array, sources: jax.Array, weights: jax.Array, run_lengths: jax.Array) -> jax.Array:
    """Sum `weights * table[sources]` over runs of consecutive slots: `[runs, F]`.

    The `[N, F]` rows are never written to memory: the first rows of each run are added while they are gathered, and
    what is left of long runs is added to that in blocks, `_AT_ONCE` numbers of them at a time.
    """
    first = _block_sums(table, sources, weights, _first_blocks(run_lengths))
    further = _further_blocks(run_lengths, len(sources))

    def add(total: jax.Array, blocks: _Blocks) -> tuple[jax.Array, None]:
        rest = _block_sums(table, sources, weights, blocks)
        return total.at[blocks.runs].add(rest, mode="drop", indices_are_sorted=True), None

    at_once = max(_AT_ONCE // table.shape[1], 1)
    if len(further.slots) <= at_once:
        return add(first, further)[0]
    padding = -len(further.slots) % at_once
    padded = _Blocks(
        jnp.pad(further.slots, (0, padding)),
        jnp.pad(further.filled, (0, padding)),
        jnp.pad(further.runs, (0, padding), constant_values=len(run_lengths)),
    )
    return lax.scan(add, first, jax.tree.map(lambda part: part.reshape(-1, at_once), padded))[0]


def weighted_item_sum(rows: jax.Array, weights: jax.Array, batch: SparseBatch, *, num_items: int) -> jax.Array:
    """Sum `weights: [N]` times the users' `rows: [B, F]` over the interactions of each item: `[I, F]`, in O(N F + I F).

    The transpose of `weighted_row_sum`.
    """
    items = jnp.where(is_interaction(batch), batch.items, num_items)  # padding sorts last and is counted nowhere
    by_item = order_integers(items, largest=num_items)
    counts = jnp.zeros(num_items, jnp.int32).at[items].add(1, mode="drop")
    return _run_sums(rows, batch.rows[by_item], weights[by_item], counts)


@jax.custom_vjp
def weighted_row_sum(table: jax.Array, weights: jax.Array, batch: SparseBatch) -> jax.Array:
    """Sum `weights: [N]` times the interactions' rows of `table: [I, F]` over each user: `[B, F]`, in O(N F).

    Equal to the product of the weighted sparse rows with the table. Both directions run on sorted runs: by user
    forward, by item backward, so that neither keeps an `[N, F]` array nor scatters row by row.
    """
    return _run_sums(table, batch.items, weights, batch.lengths)


def _weighted_row_sum_forward(
    table: jax.Array, weights: jax.Array, batch: SparseBatch
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, SparseBatch]]:
    # Spelled out, as in `linear.affine`.
    return _run_sums(table, batch.items, weights, batch.lengths), (table, weights, batch)


def _weighted_row_sum_backward(
    residuals: tuple[jax.Array, jax.Array, SparseBatch], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array, None]:
    table, weights, batch = residuals
    to_table = weighted_item_sum(cotangent, weights, batch, num_items=table.shape[0])
    to_weights = jnp.sum(table[batch.items] * jnp.take(cotangent, batch.rows, axis=0, mode="clip"), axis=-1)
    return to_table, jnp.where(is_interaction(batch), to_weights, 0.0), None


weighted_row_sum.defvjp(_weighted_row_sum_forward, _weighted_row_sum_backward)


def sharded_row_sum(
    table: jax.Array, weights: jax.Array, batch: SparseBatch, *, item_axis: str | None = None
) -> jax.Array:
    """`weighted_row_sum` of a table that is split along items over the devices of a mesh axis, `[L, F]` on each.

    Args:
      table: float32[L, F], or float32[I, F] without an axis.
      weights: float32[N].
      batch: B users with items of the whole vocabulary, the same on all devices.
      item_axis: the axis; None for a whole table.

    Returns:
      float32[B, F], the same on all devices.
    """
    if item_axis is None:
        return weighted_row_sum(table, weights, batch)
    own = item_parallel.own_items(batch.items, table.shape[0], item_axis)
    own_weights = jnp.where(own.here, item_parallel.copy_to_shards(weights, item_axis), 0.0)
    total = weighted_row_sum(table, own_weights, batch._replace(items=own.positions))
    return item_parallel.sum_over_shards(total, item_axis)


def matmul(inputs: EncoderInput, kernel: jax.Array, *, item_axis: str | None = None) -> jax.Array:
    """`x @ kernel` for the encoder's input: `[B, I] x [I, H] -> [B, H]`, at O(N H) for sparse rows.

    With an `item_axis` the kernel is a device's shard, `[L, H]`, and the rows must be sparse.
    """
    if isinstance(inputs, SparseInput):
        return sharded_row_sum(kernel, inputs.values, inputs.batch, item_axis=item_axis)
    require_whole(item_axis)
    return jnp.matmul(inputs, kernel, precision=jax.lax.Precision.HIGHEST)


def require_whole(item_axis: str | None) -> None:
    """Refuse to split dense rows along items; raises UserError."""
    if item_axis is not None:
        raise UserError(f"item_axis={item_axis!r} needs sparse rows, got dense ones; pass a SparseBatch")


def row_mean(table: jax.Array, batch: Batch, *, item_axis: str | None = None) -> jax.Array:
    """Mean over each row's positives of `table: [I]` or `[I, F]`, giving `[B]` or `[B, F]`; zero for an empty row.

    With an `item_axis` the table is a device's shard, `[L]` or `[L, F]`, and the rows must be sparse.
    """
    if isinstance(batch, SparseBatch):
        total = _row_total(table, batch, item_axis)
    else:
        require_whole(item_axis)
        total = jnp.matmul(batch.astype(table.dtype), table, precision=jax.lax.Precision.HIGHEST)
    return total / jnp.maximum(row_lengths(batch), 1.0).reshape(-1, *(1,) * (table.ndim - 1))


def _row_total(table: jax.Array, batch: SparseBatch, item_axis: str | None) -> jax.Array:
    ones = jnp.ones(batch.items.shape, table.dtype)
    if table.ndim == 2:
        return sharded_row_sum(table, ones, batch, item_axis=item_axis)
    if item_axis is not None:
        return sharded_row_sum(table[:, None], ones, batch, item_axis=item_axis)[:, 0]
    return row_sum(table[batch.items], batch)  # blocks pay for wider tables only
