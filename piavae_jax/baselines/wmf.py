"""Weighted matrix factorisation by alternating least squares.

Sources: Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008; the objective and its
frequency-scaled regularisation are those of Rendle et al., "Revisiting the performance of iALS on item recommendation
benchmarks", RecSys 2022, https://arxiv.org/abs/2110.14037.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax import sparse
from piavae_jax.baselines.baseline import Baseline
from piavae_jax.baselines.checks import check_not_negative, check_positive
from piavae_jax.baselines.conjugate_gradient import conjugate_gradient
from piavae_jax.baselines.rows import BothSides, both_sides, random_factors
from piavae_jax.data.checks import check_count
from piavae_jax.linear import product
from piavae_jax.types import SparseBatch

_TOLERANCE = 1e-6
_TRAINING_STEPS = 5  # each solve starts where that of the last iteration ended
_FOLD_IN_STEPS = 200  # about ten reach the tolerance
_SLOTS = 8192  # interactions whose factors are in memory at a time


class WMFWeights(NamedTuple):
    """The objective's scalars, float32[]."""

    unobserved: jax.Array
    """alpha_0."""
    regularization: jax.Array
    """lambda."""
    exponent: jax.Array
    """nu."""


def wmf(
    *,
    dim: int = 256,
    regularization: float = 0.003,
    unobserved_weight: float = 0.1,
    frequency_exponent: float = 1.0,
    iterations: int = 16,
    seed: int = 0,
) -> Baseline:
    """Build WMF: users' factors w_u and items' factors h_i that minimise

    `sum_{i in S_u} (w_u h_i - 1)^2 + alpha_0 sum_{u, i} (w_u h_i)^2 + lambda (sum_u (n_u + alpha_0 I)^nu ||w_u||^2
    + sum_i (n_i + alpha_0 U)^nu ||h_i||^2)`.

    Each user is a linear system of size D, as each item is. They are solved by conjugate gradients in the basis in
    which the term of all unobserved pairs is diagonal, in O(N D) a step. A user, seen in training or not, is folded in
    by one such solve with the items fixed. Parameters: `items`, float32[I, D], and `weights`.

    Args:
      dim: D.
      regularization: lambda.
      unobserved_weight: alpha_0, of every pair, next to 1 for an interaction.
      frequency_exponent: nu; 0 penalises all alike, 1 in proportion to their interactions.
      iterations: of users' and then items' factors.
      seed: of the items' first factors.

    Raises:
      UserError: an argument is not positive (`frequency_exponent` and `seed`: is negative).
    """
    check_count("dim", dim, minimum=1)
    check_count("iterations", iterations, minimum=1)
    check_count("seed", seed, minimum=0)
    check_positive("regularization", regularization, example=0.003)
    check_positive("unobserved_weight", unobserved_weight, example=0.1)
    check_not_negative("frequency_exponent", frequency_exponent, example=1)
    weights = WMFWeights(*map(np.float32, (unobserved_weight, regularization, frequency_exponent)))  # type: ignore[arg-type]
    return Baseline(both_sides, partial(_solve, weights=weights, dim=dim, iterations=iterations, seed=seed), wmf_scores)


def wmf_scores(params: Mapping[str, Any], batch: SparseBatch) -> jax.Array:
    """Products of the users' factors, folded in, with the items'.

    Args:
      params: of `wmf`.
      batch: B users.

    Returns:
      float32[B, I]; zero for an empty row. O(B I D).
    """
    return product(fold_in(params, batch), params["items"].T)


def dense_wmf_scores(params: Mapping[str, Any], rows: jax.Array) -> jax.Array:
    """`wmf_scores` of dense rows of 0 and 1, float32[B, I], for programs without sparse batches; O(B I D) a step."""
    items = params["items"]
    users = _minimise(
        items,
        jnp.sum(rows, axis=-1),
        jnp.zeros((rows.shape[0], items.shape[1]), items.dtype),
        params["weights"],
        sum_own=lambda values: product(rows, values),
        project_own=lambda factors: product(rows * product(factors, items.T), items),
        max_steps=_FOLD_IN_STEPS,
    )
    return product(users, items.T)


def fold_in(params: Mapping[str, Any], batch: SparseBatch) -> jax.Array:
    """The factors that minimise the objective for the users of a batch, items fixed: float32[B, D]."""
    items = params["items"]
    start = jnp.zeros((batch.lengths.shape[0], items.shape[1]), items.dtype)
    return _solve_rows(items, batch, start, params["weights"], max_steps=_FOLD_IN_STEPS)


def _solve(summary: BothSides, *, weights: WMFWeights, dim: int, iterations: int, seed: int) -> dict[str, Any]:
    by_user, by_item = jax.device_put(summary)
    items = jnp.asarray(random_factors(len(by_item.lengths), dim, seed=seed))
    users = jnp.zeros((len(by_user.lengths), dim), items.dtype)
    for _ in range(iterations):
        items, users = _half_step(items, by_user, users, weights)
        users, items = _half_step(users, by_item, items, weights)
    return {"items": product(items, _principal_axes(items)), "weights": weights}


@jax.jit
def _half_step(
    table: jax.Array, batch: SparseBatch, start: jax.Array, weights: WMFWeights
) -> tuple[jax.Array, jax.Array]:
    """Both sides turned to the principal axes of the fixed one, and the other one solved for."""
    axes = _principal_axes(table)
    table, start = product(table, axes), product(start, axes)
    return table, _solve_rows(table, batch, start, weights, max_steps=_TRAINING_STEPS)


def _principal_axes(table: jax.Array) -> jax.Array:
    """float32[D, D], the rotation that makes `table^T table` diagonal."""
    return jnp.linalg.eigh(product(table.T, table))[1]


def _solve_rows(
    table: jax.Array, batch: SparseBatch, start: jax.Array, weights: WMFWeights, *, max_steps: int
) -> jax.Array:
    """One side's factors for B rows, given the other's `table`, whose columns are orthogonal: float32[B, D]."""
    ones = jnp.ones(batch.items.shape, table.dtype)

    def project_own(factors: jax.Array) -> jax.Array:
        # A few slots at a time: XLA's CPU backend writes both factors of all of them to memory, [N, D] each.
        predicted = jax.lax.map(
            lambda slot: jnp.sum(table[slot[0]] * factors.at[slot[1]].get(mode="clip")),
            (batch.items, batch.rows),
            batch_size=_SLOTS,
        )
        return sparse.weighted_row_sum(table, predicted, batch)

    return _minimise(
        table,
        sparse.row_lengths(batch),
        start,
        weights,
        sum_own=lambda values: sparse.weighted_row_sum(values, ones, batch),
        project_own=project_own,
        max_steps=max_steps,
    )


def _minimise(
    table: jax.Array,
    lengths: jax.Array,
    start: jax.Array,
    weights: WMFWeights,
    *,
    sum_own: Callable[[jax.Array], jax.Array],
    project_own: Callable[[jax.Array], jax.Array],
    max_steps: int,
) -> jax.Array:
    """The linear systems of B rows, however the rows are held.

    Args:
      table: float32[I, D], whose columns are orthogonal.
      lengths: [B].
      start: float32[B, D], the first guess.
      weights: of the objective.
      sum_own: the sums of the rows of an [I, D] array over what each of the B rows has.
      project_own: those of the rows of `table`, each times its product with the row's factors, [B, D].
      max_steps: of the conjugate gradients.
    """
    squared = jnp.square(table)
    penalty = weights.regularization * (lengths + weights.unobserved * len(table)) ** weights.exponent
    diagonal = (weights.unobserved * squared.sum(axis=0))[None, :] + penalty[:, None]
    return conjugate_gradient(
        lambda factors: project_own(factors) + diagonal * factors,
        sum_own(table),
        start,
        diagonal=diagonal + sum_own(squared),
        axis=1,
        tolerance=_TOLERANCE,
        max_steps=max_steps,
    )
