"""Where the arrays of a train state lie: tables of items split over a mesh axis, everything else on every device."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from piavae_jax.evaluation import ITEM_AXIS


def item_specs(init: Callable[[int], Any], num_items: int) -> Any:
    """A `PartitionSpec` for each array of the tree `init(num_items)`.

    The dimension that runs over items is the one that grows with their number, be the array a parameter or the moment
    that an optimiser keeps of it.
    """
    shapes, longer = (jax.eval_shape(lambda count=count: init(count)) for count in (num_items, num_items + 1))
    return jax.tree.map(lambda one, other: _spec(one.shape, other.shape), shapes, longer)


def _spec(shape: tuple[int, ...], longer: tuple[int, ...]) -> PartitionSpec:
    axes = [None if size == other else ITEM_AXIS for size, other in zip(shape, longer, strict=True)]
    return PartitionSpec(*axes) if ITEM_AXIS in axes else PartitionSpec()


def pad_items(tree: Any, specs: Any, *, item_shards: int) -> Any:
    """Pad every dimension that is split with zeros, to a multiple of the shards."""

    def pad(leaf: jax.Array, spec: PartitionSpec) -> jax.Array:
        if ITEM_AXIS not in spec:
            return leaf
        return jnp.pad(
            leaf, [(0, -size % item_shards if axis else 0) for size, axis in zip(leaf.shape, spec, strict=True)]
        )

    return jax.tree.map(pad, tree, specs)


def init_split(init: Callable[[], Any], specs: Any, mesh: Mesh) -> Any:
    """Compute the tree `init()`, padded, in place: no device holds, at any time, more than its shards of the tables."""
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
    place = jax.jit(lambda: pad_items(init(), specs, item_shards=mesh.shape[ITEM_AXIS]), out_shardings=shardings)
    return place()


def split_items(table: jax.Array, mesh: Mesh) -> jax.Array:
    """Pad `table: [I, ...]` with zeros and split it over the devices, `[L, ...]` on each."""
    spec = PartitionSpec(ITEM_AXIS, *[None] * (table.ndim - 1))
    return jax.device_put(pad_items(table, spec, item_shards=mesh.shape[ITEM_AXIS]), NamedSharding(mesh, spec))
