"""Small batches for tests: the same users as dense rows and as a padded sparse batch."""

import jax.numpy as jnp
import numpy as np

from piavae_jax.types import SparseBatch


def dense_rows(lengths: list[int], num_items: int, *, seed: int = 0) -> np.ndarray:
    """float32[B, I] binary rows with the given numbers of positives."""
    generator = np.random.default_rng(seed)
    rows = np.zeros((len(lengths), num_items), np.float32)
    for row, length in zip(rows, lengths, strict=True):
        row[generator.choice(num_items, length, replace=False)] = 1
    return rows


def sparse_batch(rows: np.ndarray, *, padding: int = 0, padded_rows: int = 0) -> SparseBatch:
    """The same rows, with padding slots and padding rows on request."""
    in_rows, items = np.nonzero(rows)
    count = len(rows) + padded_rows
    lengths = np.zeros(count, np.int32)
    lengths[: len(rows)] = rows.sum(axis=1)
    return SparseBatch(
        items=jnp.asarray(np.pad(items, (0, padding)), jnp.int32),
        rows=jnp.asarray(np.pad(in_rows, (0, padding), constant_values=count), jnp.int32),
        lengths=jnp.asarray(lengths),
        users=jnp.asarray(np.pad(np.arange(len(rows)), (0, padded_rows), constant_values=-1), jnp.int32),
        row_mask=jnp.arange(count) < len(rows),
    )
