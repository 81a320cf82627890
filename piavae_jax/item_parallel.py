"""Arrays that are split along items over the devices of a mesh axis, for code that runs under `jax.shard_map`.

A device of an axis of S holds L = ceil(I / S) consecutive items of each table, the last devices some padding; users,
latent vectors and losses are the same on all of them. The two operators between the two kinds of arrays are conjugate
(Shoeybi et al. 2019, "Megatron-LM", section 3): with them `jax.grad` inside `shard_map(check_vma=False)` gives each
device the gradient of its own shard, and equal gradients of whatever is the same on all.

Every function takes the axis name as `item_axis`, as `jax.lax` does, and does nothing where it is None.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def copy_to_shards(x: jax.Array, item_axis: str | None) -> jax.Array:
    """Hand an array that all devices have to computations on each one's shard; its gradient sums over the devices."""
    del item_axis
    return x


def _copy_forward(x: jax.Array, item_axis: str | None) -> tuple[jax.Array, None]:
    return copy_to_shards(x, item_axis), None


def _copy_backward(item_axis: str | None, _: None, cotangent: jax.Array) -> tuple[jax.Array]:
    return (cotangent if item_axis is None else jax.lax.psum(cotangent, item_axis),)


copy_to_shards.defvjp(_copy_forward, _copy_backward)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def sum_over_shards(x: jax.Array, item_axis: str | None) -> jax.Array:
    """Sum what each device computed from its shard; every device gets the sum, and the gradient of its own term."""
    return x if item_axis is None else jax.lax.psum(x, item_axis)


def _sum_forward(x: jax.Array, item_axis: str | None) -> tuple[jax.Array, None]:
    return sum_over_shards(x, item_axis), None


def _sum_backward(item_axis: str | None, _: None, cotangent: jax.Array) -> tuple[jax.Array]:
    del item_axis
    return (cotangent,)


sum_over_shards.defvjp(_sum_forward, _sum_backward)


def combine_normalizers(normalizer: jax.Array, item_axis: str | None) -> jax.Array:
    """Log-sum-exp over all items from each shard's own, `[B]`; -inf for a shard of nothing but padding.

    Not to be differentiated: the likelihoods that need it bring their own gradients.
    """
    if item_axis is None:
        return normalizer
    largest = jax.lax.pmax(normalizer, item_axis)
    return largest + jnp.log(jax.lax.psum(jnp.exp(normalizer - largest), item_axis))


def shard_size(num_items: int, item_axis: str | None) -> int:
    """L, the items that each device holds."""
    return num_items if item_axis is None else -(-num_items // jax.lax.axis_size(item_axis))


def first_item(size: int, item_axis: str | None) -> jax.Array | int:
    """The number of the first item that this device holds, where each holds `size`."""
    return 0 if item_axis is None else jax.lax.axis_index(item_axis) * size


class OwnItems(NamedTuple):
    """Where the items of N interactions lie in this device's shard of L items."""

    positions: jax.Array
    """int32[N], in [0, L); arbitrary for items of other shards."""
    here: jax.Array
    """bool[N], whether the item is in this shard."""


def own_items(items: jax.Array, size: int, item_axis: str | None) -> OwnItems:
    """Find `items: int32[N]` in this device's shard of `size` items."""
    offsets = items - first_item(size, item_axis)
    return OwnItems(jnp.clip(offsets, 0, size - 1), (offsets >= 0) & (offsets < size))


def mask_padding(bias: jax.Array, num_items: int, item_axis: str | None) -> jax.Array:
    """Give the items that only pad the last shards a bias of -inf: no probability, no gradient and no rank.

    Args:
      bias: float32[L], this device's shard.
      num_items: I.
      item_axis: the mesh axis that items are split over.
    """
    if item_axis is None or num_items % jax.lax.axis_size(item_axis) == 0:
        return bias
    items = first_item(bias.shape[0], item_axis) + jnp.arange(bias.shape[0], dtype=jnp.int32)
    return jnp.where(items < num_items, bias, -jnp.inf)
