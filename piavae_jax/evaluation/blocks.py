"""Blocks of consecutive items that can hold a row's best ones, found on a CPU without sorting.

A row's K best items lie in the K blocks with the greatest maxima, the earlier block first among equals: each of these
blocks holds an item that is at least as good as any item outside them, and comes before it. A CPU orders their maxima
by bisection on the bits of floating-point numbers: every step is a pass over the maxima, on all cores.

Accelerators sort instead. On a Hopper GPU the kernel of such a step read the counter of the loop before the kernel
ahead had written it (`bench/NOTES.md`), and whole rows lost their best blocks.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax


def block_maxima(scores: jax.Array, size: int) -> jax.Array:
    """Greatest score of each run of `size` items, the last of which may be shorter: `float[B, I] -> float[B, G]`."""
    num_items = scores.shape[1]
    short = ((0, 0), (0, -num_items % size))
    # A reshape to [B, G, size] and a maximum over its last axis is ten times slower on a CPU.
    return lax.reduce_window(scores, -jnp.inf, lax.max, (1, size), (1, size), short)


def best_blocks(maxima: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """Find the k greatest maxima, of equal ones the first, in the way that suits the device.

    Args:
      maxima: float32[B, G], no NaN.
      k: at most G.

    Returns:
      int32[B, K], the blocks in ascending order, and float32[B], the least of their maxima.
    """
    return lax.platform_dependent(maxima, cpu=partial(best_by_bisection, k=k), default=partial(best_by_sorting, k=k))


def best_by_sorting(maxima: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """What `best_blocks` finds, by a sort of each row's maxima."""
    best, blocks = lax.top_k(maxima, k)
    return jnp.sort(blocks, axis=-1), best[:, -1]


def best_by_bisection(maxima: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """What `best_blocks` finds, by counting how many maxima reach a bound."""
    keys = _ordered(maxima)
    least = _kth_largest(keys, k)
    above, equal = keys > least[:, None], keys == least[:, None]
    spare = k - jnp.sum(above, axis=-1, dtype=jnp.int32)
    # How many blocks are chosen up to and with each: all above the least, and equal ones while there is room.
    chosen = _count(above) + jnp.minimum(_count(equal), spare[:, None])
    places = jnp.arange(k, dtype=jnp.int32)
    find = partial(jnp.searchsorted, v=places, side="right", method="scan_unrolled")
    return jax.vmap(find)(chosen).astype(jnp.int32), _value(least)


def _count(mask: jax.Array) -> jax.Array:
    return jnp.cumsum(mask.astype(jnp.int32), axis=-1)


def _kth_largest(keys: jax.Array, k: int) -> jax.Array:
    """int32[B], bit by bit from the sign down: the greatest key that k of a row's keys reach."""

    def at_least_k(least: jax.Array) -> jax.Array:
        # A sum of floats: XLA's CPU backend does not vectorise that of integers. Exact below 2^24 blocks.
        return jnp.sum(jnp.where(keys >= least[:, None], 1.0, 0.0), axis=-1) >= k

    def refine(step: jax.Array, least: jax.Array) -> jax.Array:
        raised = least + lax.shift_left(jnp.int32(1), (30 - step).astype(jnp.int32))  # else int64 where JAX has that on
        return jnp.where(at_least_k(raised), raised, least)

    zero = jnp.zeros(keys.shape[0], jnp.int32)
    least = jnp.where(at_least_k(zero), zero, jnp.iinfo(jnp.int32).min)
    return lax.fori_loop(0, 31, refine, least)


def _ordered(values: jax.Array) -> jax.Array:
    """int32 keys in the order of the float32 values: the bits of negative numbers ascend as the numbers descend."""
    bits = lax.bitcast_convert_type(values, jnp.int32)
    return jnp.where(bits < 0, bits ^ jnp.iinfo(jnp.int32).max, bits)


def _value(keys: jax.Array) -> jax.Array:
    bits = jnp.where(keys < 0, keys ^ jnp.iinfo(jnp.int32).max, keys)
    return lax.bitcast_convert_type(bits, jnp.float32)
