"""Item-item regression with a zero diagonal: what EASE and EDLAE have in common.

`min_B ||X - X B||^2 + sum_j Lambda_j ||B_j||^2` with `diag(B) = 0` has the solution `B_ji = - P_ji / P_ii` off the
diagonal, where `P = (X^T X + diag(Lambda))^-1` (Steck 2019, 2020).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # scipy.linalg loads at its first use

from piavae_jax import sparse
from piavae_jax.errors import UserError
from piavae_jax.types import SparseBatch

_BLOCK = 512  # rows that are mirrored at a time: two blocks stay in the cache


def full_rank_scores(params: Mapping[str, jax.Array], batch: SparseBatch) -> jax.Array:
    """`x B`: the weights of a user's items, added up.

    Args:
      params: `weights`, float32[I, I]: row j is what having item j says of every item.
      batch: B users.

    Returns:
      float32[B, I]; zero for an empty row. O(N I).
    """
    weights = params["weights"]
    return sparse.weighted_row_sum(weights, jnp.ones(batch.items.shape, weights.dtype), batch)


def zero_diagonal_regression(gram: np.ndarray, penalties: np.ndarray) -> dict[str, np.ndarray]:
    """Solve for B in the memory of the Gram matrix.

    Args:
      gram: `X^T X`, float32[I, I] in C order; overwritten.
      penalties: Lambda, float[I].

    Returns:
      `weights`, float32[I, I], the memory of `gram`.

    Raises:
      UserError: the penalties are too small for single precision.
    """
    gram.flat[:: len(gram) + 1] += penalties
    _invert(gram)
    gram /= -gram.diagonal()[None, :]
    np.fill_diagonal(gram, 0.0)
    return {"weights": gram}


def _invert(matrix: np.ndarray) -> None:
    """Replace a symmetric positive definite float32[I, I] by its inverse, without a second matrix."""
    columns = matrix.T  # LAPACK reads columns; what it calls lower is above the diagonal here
    factor, problem = scipy.linalg.lapack.spotrf(columns, lower=True, clean=False, overwrite_a=True)
    if problem:
        raise UserError(
            f"regularization must keep the {len(matrix)} items' matrix positive definite in single precision, "
            "got too little of it; pass ten times as much"
        )
    inverse, _ = scipy.linalg.lapack.spotri(factor, lower=True, overwrite_c=True)
    assert np.shares_memory(inverse, matrix)
    _mirror(matrix)


def _mirror(matrix: np.ndarray) -> None:
    """Copy what is above the diagonal below it."""
    for start in range(0, len(matrix), _BLOCK):
        for left in range(0, start + 1, _BLOCK):
            rows, columns = slice(start, start + _BLOCK), slice(left, left + _BLOCK)
            above = matrix[columns, rows].T
            matrix[rows, columns] = np.tril(above) + np.triu(matrix[rows, columns], 1) if left == start else above
