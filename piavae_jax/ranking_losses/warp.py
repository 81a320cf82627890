"""WARP: weighted approximate-rank pairwise loss, with the ranks exact."""

from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from piavae_jax import sparse
from piavae_jax.errors import UserError
from piavae_jax.ranking_losses.positives import as_sparse, first_slots
from piavae_jax.types import Batch, SparseBatch

_AT_ONCE = 1 << 17
"""Items of all rows together that a CPU looks up at a time: what its cache holds."""
_FEW = 128
"""Up to so many values in a row a CPU compares an item with each sooner than it searches, since that is vectorised."""
_TOGETHER = 16
"""Values that items are compared with in one pass."""


def warp_loss(logits: jax.Array, batch: Batch, *, margin: float = 1.0) -> jax.Array:
    """WARP of Weston et al. (2011, https://www.ijcai.org/Proceedings/11/Papers/460.pdf) without its sampling.

    For each positive i the violators are the other items within the margin, `V_i = {j not in S: s_j > s_i - margin}`,
    and its rank is their number. The loss is `sum_{i in S} H(|V_i|) mean_{j in V_i} (margin - s_i + s_j)` with harmonic
    numbers `H(r) = 1 + 1/2 + ... + 1/r`, the weights that favour the top of the list. Weston et al. estimate ranks by
    sampling until a violator is found; here they are those of the whole list, as in the baseline of RaCT (Lobel et al.
    2020).

    Time O(n log n + I log n) a user: only positives are sorted, and each item is looked up among them (on a CPU, where
    they are few, by comparison with each).

    Args:
      logits: float32[B, I].
      batch: the full, unmasked rows of B users, sparse or dense.
      margin: by how much a positive should lead, above 0.

    Returns:
      float32[B]; zero for an empty row. Weights and ranks carry no gradient.

    Raises:
      UserError: `margin` is a Python number that is not above 0.
    """
    chex.assert_rank(logits, 2)
    if isinstance(margin, int | float) and not margin > 0:
        raise UserError(f"margin must be above 0, got {margin}; 1 is the usual one")
    batch = as_sparse(batch)
    # No difference of logits changes, and what is summed below stays small.
    logits = logits - lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    weights = _weights(lax.stop_gradient(logits), batch, margin)
    # With ranks fixed the loss is linear in the logits; that of an item without a weight may be -inf.
    weighted = jnp.where(weights.of_item == 0, 0.0, weights.of_item * logits)
    return jnp.sum(weighted, axis=-1) + margin * weights.total


class _Weights(NamedTuple):
    of_item: jax.Array
    """float32[B, I]: `- H(|V_i|)` for a positive i, and for another item j the sum of `H(|V_i|) / |V_i|` over the
    positives i that it violates."""
    total: jax.Array
    """float32[B], `sum_{i in S} H(|V_i|)`."""


@jax.jit  # one program for those who call the loss outside one: the running sums alone are dozens of operations
def _weights(scores: jax.Array, batch: SparseBatch, margin: float) -> _Weights:
    num_slots = len(batch.items)
    thresholds = scores.at[batch.rows, batch.items].get(mode="clip") - margin
    # By row and threshold; no interaction leaves its row's slots.
    _, thresholds, items = lax.sort((batch.rows, thresholds, batch.items), num_keys=2)
    # An item violates the slots of its row up to its last one. From the row's last slot backwards, the items that have
    # theirs there add up to ranks; positives are taken out again.
    last, added = _last_slots_below(thresholds, scores, batch)
    own = last.at[batch.rows, items].get(mode="fill", fill_value=num_slots)
    added = added.at[own].add(-1, mode="drop")
    from_here = jnp.cumsum(added[::-1])[::-1]
    beyond_row = jnp.append(from_here, 0)[first_slots(batch) + batch.lengths]
    ranks = (from_here - beyond_row.at[batch.rows].get(mode="clip")).astype(jnp.float32)
    ranks = jnp.where(sparse.is_interaction(batch), ranks, 0.0)
    harmonic = jnp.where(ranks > 0, jax.scipy.special.digamma(ranks + 1.0) + np.float32(np.euler_gamma), 0.0)
    up_to = _row_cumsum(harmonic / jnp.maximum(ranks, 1.0), batch)
    # Written to a table, with a zero for items without a slot: else the running sums are fused into the pass over all
    # items, and worked out again for each of them.
    table = jnp.zeros(num_slots + 1, scores.dtype).at[jnp.arange(num_slots)].set(up_to)
    of_item = table.at[last].get(mode="promise_in_bounds")
    of_item = of_item.at[batch.rows, items].set(-harmonic, mode="drop")
    return _Weights(of_item, sparse.row_sum(harmonic, batch))


class _Found(NamedTuple):
    """Where limits stand among the ascending values of their rows."""

    last: jax.Array
    """int32[B, I], the last slot whose value is below the limit, N where none is."""
    added: jax.Array
    """int32[N], how many limits have their last slot there."""


def _last_slots_below(sorted_values: jax.Array, limits: jax.Array, batch: SparseBatch) -> _Found:
    """Look up each limit in its row, in the way that suits the device; both find the same integers.

    Args:
      sorted_values: float32[N], ascending in each row.
      limits: float32[B, I].
      batch: where rows begin and how long they are.
    """
    return lax.platform_dependent(
        sorted_values, limits, first_slots(batch), batch.lengths, cpu=_search_in_blocks, default=_search_at_once
    )


def _search_at_once(sorted_values: jax.Array, limits: jax.Array, starts: jax.Array, lengths: jax.Array) -> _Found:
    """All rows in one kernel that takes every step of a search: as many steps as a row of all items needs."""
    num_slots = len(sorted_values)
    num_steps = min(num_slots, limits.shape[1]).bit_length()
    last = _last_below(sorted_values, limits, starts, lengths, num_steps=num_steps, unroll=True)
    return _Found(last, jnp.zeros(num_slots, jnp.int32).at[last].add(1, mode="drop"))


def _search_in_blocks(sorted_values: jax.Array, limits: jax.Array, starts: jax.Array, lengths: jax.Array) -> _Found:
    """A few rows at a time, so that what a step reads is still in the cache; as many steps as the longest needs."""
    (count, num_items), num_slots = limits.shape, len(sorted_values)
    rows_at_once = min(max(_AT_ONCE // num_items, 1), count)

    def visit(block: jax.Array, found: _Found) -> _Found:
        # The last block reaches back into the one before: rows that filled it up would be a copy of everything.
        fresh = block * rows_at_once
        first = jnp.minimum(fresh, count - rows_at_once)
        rows = [lax.dynamic_slice_in_dim(values, first, rows_at_once) for values in (limits, starts, lengths)]
        longest = jnp.max(rows[2])
        last = lax.cond(
            longest <= _FEW,
            partial(_last_by_comparison, longest=longest),
            partial(_last_below, num_steps=32 - lax.clz(longest)),
            sorted_values,
            *rows,
        )
        is_fresh = first + jnp.arange(rows_at_once) >= fresh
        added = found.added.at[jnp.where(is_fresh[:, None], last, num_slots)].add(1, mode="drop")
        return _Found(lax.dynamic_update_slice_in_dim(found.last, last, first, axis=0), added)

    nothing = _Found(jnp.zeros(limits.shape, jnp.int32), jnp.zeros(num_slots, jnp.int32))
    return lax.fori_loop(0, -(-count // rows_at_once), visit, nothing)


def _last_by_comparison(
    sorted_values: jax.Array, limits: jax.Array, starts: jax.Array, lengths: jax.Array, *, longest: jax.Array
) -> jax.Array:
    """As `_last_below`, by counting: of ascending values the last below a limit is known by their number."""

    def compare(step: jax.Array, counts: jax.Array) -> jax.Array:
        places = (step * _TOGETHER + jnp.arange(_TOGETHER))[None, :]
        values = sorted_values.at[starts[:, None] + places].get(mode="clip")
        values = jnp.where(places < lengths[:, None], values, jnp.inf)
        return counts + sum((values[:, n, None] < limits).astype(jnp.int32) for n in range(_TOGETHER))

    counts = lax.fori_loop(0, -(-longest // _TOGETHER), compare, jnp.zeros(limits.shape, jnp.int32))
    return jnp.where(counts > 0, starts[:, None] + counts - 1, len(sorted_values))


def _last_below(
    sorted_values: jax.Array,
    limits: jax.Array,
    starts: jax.Array,
    lengths: jax.Array,
    *,
    num_steps: int | jax.Array,
    unroll: bool = False,
) -> jax.Array:
    """The last slot of its row whose value is below each limit, int32[B, I], N where none is.

    `jnp.searchsorted` on ragged rows: `sorted_values: [N]` of rows that begin at `starts: [B]`, `limits: [B, I]`.
    """

    def leap(step: int | jax.Array, ends: jax.Array) -> jax.Array:
        further = ends + (1 << (num_steps - 1 - step))
        is_below = sorted_values.at[further - 1].get(mode="clip") < limits
        return jnp.where((further <= (starts + lengths)[:, None]) & is_below, further, ends)

    first = jnp.broadcast_to(starts[:, None], limits.shape)
    ends = lax.fori_loop(0, num_steps, leap, first, unroll=unroll or None)  # of traced bounds, even False is refused
    return jnp.where(ends > starts[:, None], ends - 1, len(sorted_values))


def _row_cumsum(values: jax.Array, batch: SparseBatch) -> jax.Array:
    """Running sums of `values: [N]` that begin anew with each row, so that one row's rounding is not another's."""

    def combine(left: tuple[jax.Array, jax.Array], right: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return right[0], jnp.where(left[0] == right[0], left[1], 0.0) + right[1]

    return lax.associative_scan(combine, (batch.rows, values))[1]
