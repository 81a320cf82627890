"""Matrix factorisation by alternating least squares, every pair of user and item weighing the same.

Source: Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008, with equal weights.
"""

from functools import partial

import jax
import jax.numpy as jnp

from piavae_jax import sparse
from piavae_jax.baselines.baseline import Baseline
from piavae_jax.baselines.checks import check_positive
from piavae_jax.baselines.low_rank import low_rank_scores
from piavae_jax.baselines.rows import BothSides, both_sides, random_factors
from piavae_jax.data.checks import check_count
from piavae_jax.linear import product
from piavae_jax.types import SparseBatch


def mf(*, dim: int = 256, regularization: float = 10.0, iterations: int = 15, seed: int = 0) -> Baseline:
    """Build MF: users' factors W and items' factors H with the least `||X - W H^T||^2 + lambda (||W||^2 + ||H||^2)`.

    The minimum lowers every singular value of X by lambda and keeps the D greatest. All users share one linear system,
    so that a user, seen in training or not, is folded in by a product: `encoder`, `H (H^T H + lambda)^-1`, and
    `decoder`, `H^T`, are the parameters, float32[I, D] and float32[D, I].

    Args:
      dim: D.
      regularization: lambda.
      iterations: of users' and then items' factors.
      seed: of the items' first factors.

    Raises:
      UserError: an argument is not positive (`seed`: is negative).
    """
    check_count("dim", dim, minimum=1)
    check_count("iterations", iterations, minimum=1)
    check_count("seed", seed, minimum=0)
    check_positive("regularization", regularization, example=10)
    solve = partial(_solve, dim=dim, regularization=regularization, iterations=iterations, seed=seed)
    return Baseline(both_sides, solve, low_rank_scores)


def _solve(summary: BothSides, *, dim: int, regularization: float, iterations: int, seed: int) -> dict[str, jax.Array]:
    by_user, by_item = jax.device_put(summary)
    items = jnp.asarray(random_factors(len(by_item.lengths), dim, seed=seed))
    for _ in range(iterations):
        users = solve_rows(items, by_user, regularization)
        items = solve_rows(users, by_item, regularization)
    return fold_in_by_product(items, regularization)


@jax.jit
def solve_rows(table: jax.Array, batch: SparseBatch, regularization: float | jax.Array) -> jax.Array:
    """One side's factors for B rows, given the other's `table`: `X T (T^T T + lambda)^-1`, float32[B, D]."""
    ones = jnp.ones(batch.items.shape, table.dtype)
    return _divide(sparse.weighted_row_sum(table, ones, batch), table, regularization)


def fold_in_by_product(items: jax.Array, regularization: float) -> dict[str, jax.Array]:
    """The parameters of `low_rank_scores` that fold users in and multiply them with the items' factors."""
    return {"encoder": _divide(items, items, regularization), "decoder": items.T}


def _divide(rows: jax.Array, table: jax.Array, regularization: float | jax.Array) -> jax.Array:
    """`R (T^T T + lambda)^-1`."""
    normal = product(table.T, table) + regularization * jnp.eye(table.shape[1], dtype=table.dtype)
    return jax.scipy.linalg.solve(normal, rows.T, assume_a="pos").T
