"""Masks that show histories of every length."""

import jax
import jax.numpy as jnp

from piavae_jax import sampling, sparse
from piavae_jax.errors import UserError
from piavae_jax.masking.inputs import encoder_input
from piavae_jax.types import Batch, EncoderInput, SparseBatch


def length_mask(batch: Batch, *, min_share: float = 0.0, key: jax.Array) -> jax.Array:
    """Keep m of each user's n positives, m drawn evenly from 1 to n, then which m evenly too.

    A Bernoulli mask keeps nearly the same share of every long history; this one shows the model short pieces of it
    as often as long ones, as it meets them in new users.

    Args:
      batch: sparse or dense rows of B users.
      min_share: m is drawn from `max(1, min_share * n)` to n, rounded up; in [0, 1].
      key: a PRNG key, consumed here.

    Returns:
      bool[N] for sparse rows (arbitrary at padding), bool[B, I] for dense ones, True where kept; equal for the same key
      and users.

    Raises:
      UserError: `min_share` is outside [0, 1].
    """
    if not 0 <= min_share <= 1:
        raise UserError(f"min_share must be in [0, 1], got {min_share}; 0 keeps one interaction at least")
    number_key, which_key = jax.random.split(key)
    lengths = sparse.row_lengths(batch)
    # A whole product may come out a little above itself.
    smallest = jnp.maximum(jnp.ceil(min_share * lengths * (1.0 - 1e-6)), 1.0)
    drawn = sampling.user_uniforms(sparse.row_users(batch), key=number_key)
    # The product may round up to the number of choices; rows without positives have none.
    numbers = jnp.minimum(smallest + jnp.floor(drawn * (lengths - smallest + 1.0)), lengths).astype(jnp.int32)
    ranks = _ranks_in_row(sampling.interaction_uniforms(batch, key=which_key), batch)
    if isinstance(batch, SparseBatch):
        return ranks < numbers.at[batch.rows].get(mode="clip")
    return ranks < numbers[:, None]


def _ranks_in_row(values: jax.Array, batch: Batch) -> jax.Array:
    """The rank, from 0, of each positive's value among those of its row, equal ones by item; int32[N] or int32[B, I].

    In dense rows all other items rank behind the positives.
    """
    if not isinstance(batch, SparseBatch):
        return jnp.argsort(jnp.argsort(jnp.where(batch > 0, values, jnp.inf), axis=-1), axis=-1)
    slots = jnp.arange(len(values), dtype=jnp.int32)
    *_, by_rank = jax.lax.sort((batch.rows, values, batch.items, slots), num_keys=3)
    starts = jnp.cumsum(batch.lengths) - batch.lengths
    # Sorting moves no interaction out of its row's slots.
    return jnp.zeros_like(slots).at[by_rank].set(slots - starts.at[batch.rows].get(mode="clip"))


def length_aware(batch: Batch, *, min_share: float = 0.0, key: jax.Array) -> EncoderInput:
    """Mask a batch with `length_mask` and return the encoder's input; same arguments and errors.

    What stays is scaled by n / m, and so is the unmasked row on average for every m. One item of a hundred then weighs
    a hundred times what it does in the full row; `min_share` bounds that.
    """
    kept = length_mask(batch, min_share=min_share, key=key)
    return encoder_input(batch, kept=kept, keep_prob=_kept_share(batch, kept))


def _kept_share(batch: Batch, kept: jax.Array) -> jax.Array:
    """m / n of each row, float32[B]; 1 for an empty one."""
    if isinstance(batch, SparseBatch):
        number = sparse.row_sum(kept.astype(jnp.float32), batch)
    else:
        number = jnp.sum(kept & (batch > 0), axis=-1, dtype=jnp.float32)
    lengths = sparse.row_lengths(batch)
    return jnp.where(lengths > 0, number / jnp.maximum(lengths, 1.0), 1.0)
