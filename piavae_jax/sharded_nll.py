"""The multinomial likelihood of logits that are split along items over devices."""

from functools import partial

import jax
import jax.numpy as jnp

from piavae_jax import item_parallel, sparse
from piavae_jax.types import SparseBatch

_Residuals = tuple[jax.Array, jax.Array, SparseBatch]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def sharded_multinomial_nll(logits: jax.Array, batch: SparseBatch, item_axis: str) -> jax.Array:
    """`losses.multinomial_nll` of each device's `logits: [B, L]`, float32[B] on all; its gradient is local, [B, L]."""
    return _forward(logits, batch, item_axis)[0]


def target_nll(
    at_positives: jax.Array, here: jax.Array, normalizer: jax.Array, batch: SparseBatch, item_axis: str | None
) -> jax.Array:
    """`sum_{i in S} normalizer - logit_i`, float32[B], from the logits at each interaction, `[N]`, where `here`."""
    per_interaction = normalizer.at[batch.rows].get(mode="clip") - at_positives
    own = sparse.row_sum(jnp.where(here, per_interaction, 0.0), batch)
    return item_parallel.sum_over_shards(own, item_axis)


def _forward(logits: jax.Array, batch: SparseBatch, item_axis: str) -> tuple[jax.Array, _Residuals]:
    normalizer = item_parallel.combine_normalizers(jax.nn.logsumexp(logits, axis=-1), item_axis)
    own = item_parallel.own_items(batch.items, logits.shape[1], item_axis)
    at_positives = logits.at[batch.rows, own.positions].get(mode="clip")
    return target_nll(at_positives, own.here, normalizer, batch, item_axis), (logits, normalizer, batch)


def _backward(item_axis: str, residuals: _Residuals, cotangent: jax.Array) -> tuple[jax.Array, None]:
    logits, normalizer, batch = residuals
    scale = cotangent * batch.lengths.astype(cotangent.dtype)
    gradient = scale[:, None] * jnp.exp(logits - normalizer[:, None])
    own = item_parallel.own_items(batch.items, logits.shape[1], item_axis)
    at_positives = jnp.where(own.here, cotangent.at[batch.rows].get(mode="clip"), 0.0)
    return gradient.at[batch.rows, own.positions].add(-at_positives, mode="drop"), None


sharded_multinomial_nll.defvjp(_forward, _backward)
