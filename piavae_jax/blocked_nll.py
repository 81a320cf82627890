"""The multinomial likelihood block of items by block of items, never holding [B, I] at once."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from piavae_jax import item_parallel
from piavae_jax.linear import product
from piavae_jax.sharded_nll import target_nll
from piavae_jax.types import FactoredLogits, SparseBatch

_Residuals = tuple[FactoredLogits, jax.Array, SparseBatch]


class _Block(NamedTuple):
    """G consecutive items of L, and the interactions with them."""

    start: jax.Array
    """int32[], its first item. The last block starts early enough to be whole, and repeats items of the one before."""
    kernel: jax.Array
    """float32[H, G]."""
    logits: jax.Array
    """float32[B, G]; -inf at repeated items."""
    positions: jax.Array
    """int32[N], item of each interaction within the block; G, which is out of bounds, for items of other blocks."""


def _cut(
    logits: FactoredLogits, batch: SparseBatch, first: jax.Array, block: int, item_axis: str | None, precision: str
) -> _Block:
    """The block that is the first to have the items from `first` on."""
    features, kernel, bias = logits
    num_items = kernel.shape[1]
    start = jnp.minimum(first, num_items - block)
    cut = lax.dynamic_slice_in_dim(kernel, start, block, axis=1)
    is_new = start + jnp.arange(block, dtype=jnp.int32) >= first
    shown_bias = jnp.where(is_new, lax.dynamic_slice_in_dim(bias, start, block), -jnp.inf)
    own = item_parallel.own_items(batch.items, num_items, item_axis)
    inside = own.here & (own.positions >= first) & (own.positions < first + block)
    logits_here = product(features, cut, precision=precision) + shown_bias[None, :]
    return _Block(start, cut, logits_here, jnp.where(inside, own.positions - start, block))


def _firsts(logits: FactoredLogits, block: int) -> jax.Array:
    return jnp.arange(0, logits.kernel.shape[1], block, dtype=jnp.int32)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def blocked_nll(
    logits: FactoredLogits, batch: SparseBatch, block: int, item_axis: str | None, precision: str
) -> jax.Array:
    """`losses.blocked_multinomial_nll` for blocks of at most L items; see there."""
    return _forward(logits, batch, block, item_axis, precision)[0]


# Both directions are one program each for those who call the likelihood outside one.
@partial(jax.jit, static_argnums=(2, 3, 4))
def _forward(
    logits: FactoredLogits, batch: SparseBatch, block: int, item_axis: str | None, precision: str
) -> tuple[jax.Array, _Residuals]:
    def visit(carry: tuple[jax.Array, jax.Array], first: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        normalizer, at_positives = carry
        part = _cut(logits, batch, first, block, item_axis, precision)
        found = part.logits.at[batch.rows, part.positions].get(mode="clip")
        return (
            jnp.logaddexp(normalizer, jax.nn.logsumexp(part.logits, axis=-1)),
            jnp.where(part.positions < block, found, at_positives),
        ), None

    firsts = _firsts(logits, block)
    dtype = jax.eval_shape(lambda: _cut(logits, batch, firsts[0], block, item_axis, precision)).logits.dtype
    none_yet = jnp.full(batch.lengths.shape, -jnp.inf, dtype), jnp.zeros(batch.items.shape, dtype)
    (own_normalizer, at_positives), _ = lax.scan(visit, none_yet, firsts)
    normalizer = item_parallel.combine_normalizers(own_normalizer, item_axis)
    here = item_parallel.own_items(batch.items, logits.kernel.shape[1], item_axis).here
    return target_nll(at_positives, here, normalizer, batch, item_axis), (logits, normalizer, batch)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _backward(
    block: int, item_axis: str | None, precision: str, residuals: _Residuals, cotangent: jax.Array
) -> tuple[FactoredLogits, None]:
    logits, normalizer, batch = residuals
    scale = cotangent * batch.lengths.astype(cotangent.dtype)
    at_positives = -cotangent.at[batch.rows].get(mode="clip")
    # As in `linear.affine`, whose comments say why.
    by_feature = lax.optimization_barrier(logits.features.T)
    ones = jnp.ones((1, logits.features.shape[0]), normalizer.dtype)

    def visit(gradients: FactoredLogits, first: jax.Array) -> tuple[FactoredLogits, None]:
        part = _cut(logits, batch, first, block, item_axis, precision)
        to_logits = scale[:, None] * jnp.exp(part.logits - normalizer[:, None])
        to_logits = to_logits.at[batch.rows, part.positions].add(at_positives, mode="drop")
        return FactoredLogits(
            features=gradients.features + product(to_logits, part.kernel.T, precision=precision),
            kernel=_add_block(gradients.kernel, product(by_feature, to_logits, precision=precision), part.start),
            bias=_add_block(gradients.bias, product(ones, to_logits)[0], part.start),
        ), None

    zeros = jax.tree.map(jnp.zeros_like, logits)
    return lax.scan(visit, zeros, _firsts(logits, block))[0], None


def _add_block(total: jax.Array, part: jax.Array, start: jax.Array) -> jax.Array:
    """Add to the block of the last dimension that begins at `start`."""
    so_far = lax.dynamic_slice_in_dim(total, start, part.shape[-1], axis=-1)
    return lax.dynamic_update_slice_in_dim(total, so_far + part, start, axis=-1)


blocked_nll.defvjp(_forward, _backward)
