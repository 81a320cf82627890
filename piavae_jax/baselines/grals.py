"""GRALS: Rao et al., "Collaborative filtering with graph information: consistency and scalable methods", NIPS 2015."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from piavae_jax import sparse
from piavae_jax.baselines.baseline import Baseline
from piavae_jax.baselines.checks import check_not_negative, check_positive
from piavae_jax.baselines.conjugate_gradient import conjugate_gradient
from piavae_jax.baselines.graph import ItemGraph, cosine_graph, laplacian
from piavae_jax.baselines.low_rank import low_rank_scores
from piavae_jax.baselines.mf import fold_in_by_product, solve_rows
from piavae_jax.baselines.rows import BothSides, both_sides, random_factors
from piavae_jax.data.checks import check_count
from piavae_jax.data.csr import CSR
from piavae_jax.linear import product
from piavae_jax.types import SparseBatch

_TOLERANCE, _MAX_STEPS = 1e-5, 50


class _Summary(NamedTuple):
    train: CSR
    sides: BothSides


def grals(
    *,
    dim: int = 256,
    regularization: float = 10.0,
    graph_weight: float = 10.0,
    neighbors: int = 20,
    iterations: int = 15,
    seed: int = 0,
) -> Baseline:
    """Build GRALS: the factorisation of `mf`, with items drawn towards those that the same users have.

    Minimises `||X - W H^T||^2 + lambda (||W||^2 + ||H||^2) + gamma tr(H^T L H)`, L being the Laplacian of a graph that
    joins each item with its nearest ones by the cosine of their columns in X (`graph.cosine_graph`). In the basis in
    which `W^T W` is diagonal, each column of H is a sparse linear system, solved by conjugate gradients. There is no
    graph of users, so that users are folded in as those of `mf`; the parameters are of the same form.

    Args:
      dim: D.
      regularization: lambda.
      graph_weight: gamma; 0 gives `mf`.
      neighbors: items that each item chooses for the graph.
      iterations: of users' and then items' factors.
      seed: of the items' first factors.

    Raises:
      UserError: an argument is not positive (`graph_weight` and `seed`: is negative).
    """
    for name, value in {"dim": dim, "neighbors": neighbors, "iterations": iterations}.items():
        check_count(name, value, minimum=1)
    check_count("seed", seed, minimum=0)
    check_positive("regularization", regularization, example=10)
    check_not_negative("graph_weight", graph_weight, example=10)
    solve = partial(
        _solve,
        dim=dim,
        penalties=(regularization, graph_weight),
        neighbors=neighbors,
        iterations=iterations,
        seed=seed,
    )
    return Baseline(_summarize, solve, low_rank_scores)


def _summarize(train: CSR, num_items: int) -> _Summary:
    return _Summary(train, both_sides(train, num_items))


def _solve(
    summary: _Summary, *, dim: int, penalties: tuple[float, float], neighbors: int, iterations: int, seed: int
) -> dict[str, Any]:
    by_user, by_item = jax.device_put(summary.sides)
    regularization, graph_weight = penalties
    graph = jax.device_put(cosine_graph(summary.train, len(by_item.lengths), neighbors=neighbors))
    items = jnp.asarray(random_factors(len(by_item.lengths), dim, seed=seed))
    for _ in range(iterations):
        users = solve_rows(items, by_user, regularization)
        items = _solve_items(users, by_item, items, graph, regularization, graph_weight)
    return fold_in_by_product(items, regularization)


@jax.jit
def _solve_items(
    users: jax.Array,
    by_item: SparseBatch,
    start: jax.Array,
    graph: ItemGraph,
    regularization: float | jax.Array,
    graph_weight: float | jax.Array,
) -> jax.Array:
    """H with `H (W^T W + lambda) + gamma L H = X^T W`, float32[I, D]."""
    scales, axes = jnp.linalg.eigh(product(users.T, users))
    diagonal = scales[None, :] + regularization
    target = sparse.weighted_row_sum(product(users, axes), jnp.ones(by_item.items.shape, users.dtype), by_item)
    turned = conjugate_gradient(
        lambda items: diagonal * items + graph_weight * laplacian(graph, items),
        target,
        product(start, axes),
        diagonal=diagonal + graph_weight * graph.degrees[:, None],
        axis=0,
        tolerance=_TOLERANCE,
        max_steps=_MAX_STEPS,
    )
    return product(turned, axes.T)
