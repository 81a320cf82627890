"""Training rows as what the baselines compute with: a matrix, a batch of everyone, counts of items in common."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy  # scipy.sparse loads at its first use

from piavae_jax.data.csr import CSR
from piavae_jax.types import SparseBatch

_BLOCK = 1024  # items at a time: what is sparse stays small beside what is dense


class BothSides(NamedTuple):
    """All interactions twice, NumPy arrays inside."""

    by_user: SparseBatch
    """U rows of items."""
    by_item: SparseBatch
    """I rows of users."""


def as_matrix(rows: CSR, num_items: int) -> "scipy.sparse.csr_array":
    """X, float32[U, I] of zeros and ones."""
    ones = np.ones(rows.nnz, np.float32)
    return scipy.sparse.csr_array((ones, rows.indices, rows.indptr), shape=(rows.num_rows, num_items))


def both_sides(rows: CSR, num_items: int) -> BothSides:
    """The rows, and those of the transposed matrix."""
    matrix = as_matrix(rows, num_items)
    return BothSides(as_batch(matrix), as_batch(matrix.T.tocsr()))


def as_batch(matrix: "scipy.sparse.csr_array") -> SparseBatch:
    """All rows of a matrix as one batch, without padding; the values are left to the caller."""
    lengths = np.diff(matrix.indptr).astype(np.int32)
    users = np.arange(len(lengths), dtype=np.int32)
    columns = (matrix.indices.astype(np.int32), np.repeat(users, lengths), lengths, users, np.ones(len(users), bool))
    return SparseBatch(*columns)  # type: ignore[arg-type]  # NumPy arrays stand for those of JAX


def random_factors(count: int, dim: int, *, seed: int) -> np.ndarray:
    """float32[count, D], normal, rows about 0.1 long."""
    factors = np.random.default_rng(seed).standard_normal((count, dim), np.float32)
    factors *= 0.1 / np.sqrt(dim)
    return factors


def gram_matrix(rows: CSR, num_items: int, *, user_weights: np.ndarray | None = None) -> np.ndarray:
    """`G = X^T diag(w) X`, float32[I, I]: users that two items have in common, exact below 2^24 of them.

    Args:
      rows: X.
      num_items: I.
      user_weights: float32[U], w; ones by default.
    """
    gram = np.empty((num_items, num_items), np.float32)
    for block, common in gram_blocks(rows, num_items, user_weights=user_weights):
        common.toarray(out=gram[block])
    return gram


def inverse_activity(rows: CSR, exponent: float) -> np.ndarray:
    """float32[U], `n^-exponent` of each user's n interactions, over its mean."""
    weights = np.maximum(rows.lengths, 1) ** -float(exponent)  # of whole numbers NumPy has no negative powers
    return (weights / weights.mean()).astype(np.float32)


def gram_blocks(
    rows: CSR, num_items: int, *, user_weights: np.ndarray | None = None
) -> Iterator[tuple[slice, "scipy.sparse.csr_array"]]:
    """The rows of the Gram matrix, some at a time, each block with its place."""
    matrix = as_matrix(rows, num_items)
    by_item = matrix.T.tocsr()
    if user_weights is not None:
        matrix = scipy.sparse.csr_array(
            (np.repeat(user_weights, rows.lengths), rows.indices, rows.indptr), shape=matrix.shape
        )
    for start in range(0, num_items, _BLOCK):
        block = slice(start, start + _BLOCK)
        yield block, by_item[block] @ matrix
