"""LambdaRank: pairs of a positive and another item, weighted by what their exchange would do to nDCG."""

from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from piavae_jax.errors import UserError
from piavae_jax.ordering import order_scores
from piavae_jax.ranking_losses.positives import as_sparse, first_slots, is_positive
from piavae_jax.types import Batch, SparseBatch

_BLOCK = 8
"""Positives of one row that meet its items together."""
_PAIRS = 1 << 20
"""Pairs at a time; the fastest of what was tried for 20,108 items on a CPU."""


def lambdarank_loss(logits: jax.Array, batch: Batch, *, k: int | None = None, sigma: float = 1.0) -> jax.Array:
    """LambdaRank of Burges et al. (2006) on the full list, as in RaCT's LambdaNet (Lobel et al. 2020).

    `sum_{i in S, j not in S} |delta nDCG_ij| log(1 + exp(-sigma (s_i - s_j)))`. With ranks r of the current scores
    (equal ones by item) and discounts `d = 1 / log2(r + 1)`, exchanging i and j changes nDCG by `|d_i - d_j|` over the
    ideal DCG of n positives. These weights carry no gradient.

    Pairs are visited block by block and never held together: time O(n I) a user, memory that of the logits.

    Args:
      logits: float32[B, I].
      batch: the full, unmasked rows of B users, sparse or dense.
      k: cut of nDCG@k, at least 1: discounts are zero beyond, and the ideal has min(n, k) terms. None for no cut.
      sigma: steepness of the logistic loss, above 0.

    Returns:
      float32[B]; zero for an empty row. Reverse mode only.

    Raises:
      UserError: `k` is below 1 or `sigma` not above 0.
    """
    chex.assert_rank(logits, 2)
    num_items = logits.shape[1]
    if k is not None and k < 1:
        raise UserError(f"k must be at least 1, got {k}; None ranks the whole list")
    if not sigma > 0:
        raise UserError(f"sigma must be above 0, got {sigma}; 1 is the usual one")
    return _lambdarank(logits, as_sparse(batch), num_items if k is None else min(k, num_items), sigma)


class _Lambdas(NamedTuple):
    """The loss and its gradient."""

    loss: jax.Array
    """float32[B]."""
    gradient: jax.Array
    """float32[B, I]."""


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _lambdarank(logits: jax.Array, batch: SparseBatch, k: int, sigma: float) -> jax.Array:
    return _visit_pairs(logits, batch, k, sigma).loss


def _forward(logits: jax.Array, batch: SparseBatch, k: int, sigma: float) -> tuple[jax.Array, jax.Array]:
    # The gradient of a user's loss is the user's cotangent times a row that shares all work with the loss.
    return _visit_pairs(logits, batch, k, sigma)


def _backward(k: int, sigma: float, gradient: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, None]:
    del k, sigma
    return cotangent[:, None] * gradient, None


_lambdarank.defvjp(_forward, _backward)


def _discounts(logits: jax.Array, batch: SparseBatch, k: int) -> jax.Array:
    """Each item's discount at its current rank, over the user's ideal DCG: float32[B, I], zero beyond rank k."""
    by_rank = 1 / np.log2(np.arange(k) + 2)
    ideal = jnp.asarray(np.cumsum(by_rank), jnp.float32)[jnp.clip(batch.lengths, 1, k) - 1]
    order = order_scores(logits) if k == logits.shape[1] else lax.top_k(logits, k)[1]
    in_rows = jnp.arange(logits.shape[0], dtype=order.dtype)[:, None]
    return jnp.zeros_like(logits).at[in_rows, order].set(jnp.asarray(by_rank, jnp.float32)[None, :] / ideal[:, None])


@partial(jax.jit, static_argnums=(2, 3))  # one program for those who call the loss outside one
def _visit_pairs(logits: jax.Array, batch: SparseBatch, k: int, sigma: float) -> _Lambdas:
    """Walk along blocks of positives, several blocks at a time; no block has positives of two rows."""
    count, num_items = logits.shape
    discounts, negative = _discounts(logits, batch, k), ~is_positive(batch, num_items)
    starts, within_block = first_slots(batch), jnp.arange(_BLOCK, dtype=jnp.int32)
    blocks_of_row = -(-batch.lengths // _BLOCK)
    ends = jnp.cumsum(blocks_of_row)
    at_once = max(1, _PAIRS // (_BLOCK * num_items))

    def visit(number: jax.Array, so_far: _Lambdas) -> _Lambdas:
        blocks = number * at_once + jnp.arange(at_once, dtype=jnp.int32)
        rows = jnp.searchsorted(ends, blocks, side="right")  # B past the last block
        row = jnp.minimum(rows, count - 1)
        places = (blocks - (ends - blocks_of_row)[row])[:, None] * _BLOCK + within_block[None, :]
        items = batch.items.at[starts[row][:, None] + places].get(mode="clip")
        at_positives = row[:, None], items
        real = (rows < count)[:, None] & (places < batch.lengths[row][:, None])
        positives = _Side(logits[at_positives], discounts[at_positives], real)
        pairs = _compare(positives, _Side(logits[row], discounts[row], negative[row]), sigma)
        gradient = so_far.gradient.at[rows].add(pairs.to_others, mode="drop")
        gradient = gradient.at[rows[:, None], items].add(pairs.to_positives, mode="drop")
        return _Lambdas(so_far.loss.at[rows].add(pairs.loss, mode="drop"), gradient)

    nothing = _Lambdas(jnp.zeros(count, logits.dtype), jnp.zeros_like(logits))
    return lax.fori_loop(0, -(-ends[-1] // at_once), visit, nothing)


class _Side(NamedTuple):
    """One side of the pairs of C blocks: `[C, G]` positives, or the `[C, I]` items of their rows."""

    scores: jax.Array
    """float32."""
    discounts: jax.Array
    """float32."""
    counts: jax.Array
    """bool, whether it belongs to that side."""


class _Pairs(NamedTuple):
    """Sums over the pairs of C blocks."""

    loss: jax.Array
    """float32[C]."""
    to_positives: jax.Array
    """float32[C, G], gradient."""
    to_others: jax.Array
    """float32[C, I], gradient."""


def _compare(positives: _Side, others: _Side, sigma: float) -> _Pairs:
    counts = positives.counts[:, :, None] & others.counts[:, None, :]
    # Scores that do not count may both be -inf.
    lead = jnp.where(counts, sigma * (positives.scores[:, :, None] - others.scores[:, None, :]), 0.0)
    weight = jnp.where(counts, jnp.abs(positives.discounts[:, :, None] - others.discounts[:, None, :]), 0.0)
    # Softplus and sigmoid of -lead from one exponential, which costs most of the time.
    small = jnp.exp(-jnp.abs(lead))
    loss = weight * (jnp.maximum(-lead, 0.0) + jnp.log1p(small))
    slope = sigma * weight * jnp.where(lead > 0, small, 1.0) / (1.0 + small)
    return _Pairs(jnp.sum(loss, axis=(1, 2)), -jnp.sum(slope, axis=2), jnp.sum(slope, axis=1))
