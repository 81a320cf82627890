"""Many symmetric positive definite systems of one shape at once, by preconditioned conjugate gradients."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class _State(NamedTuple):
    solution: jax.Array
    residual: jax.Array
    direction: jax.Array
    norm: jax.Array
    """Of the residuals, squared, in the metric of the preconditioner."""
    step: jax.Array


def conjugate_gradient(
    apply: Callable[[jax.Array], jax.Array],
    target: jax.Array,
    start: jax.Array,
    *,
    diagonal: jax.Array,
    axis: int,
    tolerance: float,
    max_steps: int,
) -> jax.Array:
    """Solve `apply(x) = target` for every system, each with its own step lengths (Hestenes, Stiefel 1952).

    No step makes `x^T apply(x) / 2 - x^T target` worse, so that stopping early is safe.

    Args:
      apply: the matrices, linear in an array of the shape of `target`.
      target: float32[M, N], a system in each row (`axis=1`) or column (`axis=0`).
      start: the first guess, of the same shape.
      diagonal: of the matrices, of the same shape; the preconditioner (Jacobi).
      axis: along which the unknowns of one system lie.
      tolerance: relative to the target; a system whose residual is smaller rests.
      max_steps: products with the matrices at most, the first residual's not counted.

    Returns:
      float32[M, N].
    """

    def dot(left: jax.Array, right: jax.Array) -> jax.Array:
        return jnp.sum(left * right, axis=axis, keepdims=True)

    limit = tolerance**2 * dot(target, target / diagonal)

    def advance(state: _State) -> _State:
        active = state.norm > limit
        image = apply(state.direction)
        length = _ratio(state.norm, dot(state.direction, image), active)
        residual = state.residual - length * image
        norm = dot(residual, residual / diagonal)
        direction = residual / diagonal + _ratio(norm, state.norm, active) * state.direction
        return _State(state.solution + length * state.direction, residual, direction, norm, state.step + 1)

    def unfinished(state: _State) -> jax.Array:
        return (state.step < max_steps) & jnp.any(state.norm > limit)

    residual = target - apply(start)
    first = _State(start, residual, residual / diagonal, dot(residual, residual / diagonal), jnp.int32(0))
    return jax.lax.while_loop(unfinished, advance, first).solution


def _ratio(numerator: jax.Array, denominator: jax.Array, active: jax.Array) -> jax.Array:
    """Zero for systems that rest: theirs may be 0 / 0."""
    return jnp.where(active, numerator / jnp.where(active, denominator, 1.0), 0.0)
