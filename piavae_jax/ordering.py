"""Orders of integers and of scores by sorts of single integers, which XLA runs several times as fast as those of pairs.

What is sorted and where it stood are packed into one int32 (`bench/NOTES.md` has the measurements). All orders are
stable: of equals, the first comes first.
"""

import jax
import jax.numpy as jnp
from jax import lax

_LARGEST = jnp.iinfo(jnp.int32).max


def order_integers(values: jax.Array, *, largest: int) -> jax.Array:
    """`jnp.argsort(values)`: int32[N].

    Args:
      values: int32[N], from 0 to `largest`; others are put in no order that means anything.
      largest: what none is above.
    """
    count = len(values)
    if (largest + 1) * count > _LARGEST:
        return jnp.argsort(values)
    return jnp.sort(values * count + jnp.arange(count, dtype=jnp.int32)) % count


def order_scores(scores: jax.Array) -> jax.Array:
    """The items of each row of `scores: float[B, I]`, the highest first: int32[B, I], as `lax.top_k` gives them."""
    num_items = scores.shape[1]
    # Ranks and items of more would be sorted as pairs, after the scores.
    if num_items**2 > _LARGEST or scores.dtype != jnp.float32:
        return _order_pairs(scores)
    return lax.platform_dependent(scores, cpu=_order_ranks, default=_order_pairs)


def _order_pairs(scores: jax.Array) -> jax.Array:
    return lax.top_k(scores, scores.shape[1])[1]


def _order_ranks(scores: jax.Array) -> jax.Array:
    """Row by row, in the cache: the scores alone are sorted, then the items by how many scores are above theirs."""

    def order_row(row: jax.Array) -> jax.Array:
        bits = lax.bitcast_convert_type(row, jnp.int32)
        # Integers that ascend as scores descend: those of negative floats ascend with their size.
        descending = ~jnp.where(bits < 0, bits ^ _LARGEST, bits)
        above = jnp.searchsorted(jnp.sort(descending), descending).astype(jnp.int32)
        return order_integers(above, largest=len(row) - 1)

    return lax.map(order_row, scores)
