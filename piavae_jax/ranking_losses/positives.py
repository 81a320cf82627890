"""Batches of either form as a list of positives, which is what ranking losses walk along."""

import jax
import jax.numpy as jnp

from piavae_jax import sparse
from piavae_jax.types import Batch, SparseBatch


def as_sparse(batch: Batch) -> SparseBatch:
    """The sparse form of a batch; dense rows `[B, I]` give one of N = B x I slots, under `jit` as well."""
    if isinstance(batch, SparseBatch):
        return batch
    count, num_items = batch.shape
    rows, items = jnp.nonzero(batch > 0, size=count * num_items, fill_value=(count, 0))
    return SparseBatch(
        items=items.astype(jnp.int32),
        rows=rows.astype(jnp.int32),
        lengths=jnp.sum(batch > 0, axis=-1, dtype=jnp.int32),
        users=sparse.row_users(batch),
        row_mask=jnp.ones(count, jnp.bool_),
    )


def first_slots(batch: SparseBatch) -> jax.Array:
    """int32[B], where each row's interactions begin."""
    return jnp.cumsum(batch.lengths) - batch.lengths


def is_positive(batch: SparseBatch, num_items: int) -> jax.Array:
    """bool[B, I]."""
    nothing = jnp.zeros((batch.lengths.shape[0], num_items), jnp.bool_)
    return nothing.at[batch.rows, batch.items].set(True, mode="drop")
