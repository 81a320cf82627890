"""Random draws addressed by user and item.

A draw is a function of the key, the user's number and, for masks, the item: never of the row's position, of the padding
or of the device that holds the row. So one device and many, sparse and dense rows, draw the same masks and noise.
"""

import jax
import jax.numpy as jnp

from piavae_jax import sparse
from piavae_jax.types import Batch, Posterior, SparseBatch


def _user_keys(key: jax.Array, users: jax.Array) -> jax.Array:
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, users)


def interaction_uniforms(batch: Batch, *, key: jax.Array) -> jax.Array:
    """Draw one uniform number for each interaction.

    Args:
      batch: sparse rows, or dense rows `[B, I]`.
      key: a PRNG key, consumed here.

    Returns:
      float32[N] in [0, 1) for sparse rows (arbitrary at padding), float32[B, I] for dense ones. Both give the same
      number to the same user and item. Dense rows pay for I draws a row.
    """
    keys = _user_keys(key, sparse.row_users(batch))

    def draw(row_key: jax.Array, item: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(row_key, item))

    if isinstance(batch, SparseBatch):
        return jax.vmap(draw)(keys[batch.rows], batch.items)
    items = jnp.arange(batch.shape[1], dtype=jnp.int32)
    return jax.vmap(jax.vmap(draw, in_axes=(None, 0)), in_axes=(0, None))(keys, items)


def user_uniforms(users: jax.Array, *, key: jax.Array) -> jax.Array:
    """Draw one uniform number in [0, 1), float32[B], for each of `users: int32[B]`; the key is consumed here."""
    return jax.vmap(jax.random.uniform)(_user_keys(key, users))


def user_normals(users: jax.Array, dim: int, *, key: jax.Array) -> jax.Array:
    """Draw standard normal noise float32[B, dim] for `users: int32[B]`; the key is consumed here."""
    return jax.vmap(lambda row_key: jax.random.normal(row_key, (dim,)))(_user_keys(key, users))


def reparameterize(posterior: Posterior, *, key: jax.Array, users: jax.Array | None = None) -> jax.Array:
    """Sample `z = mu + sigma * eps` with eps ~ N(0, I) (Eq. 2).

    Args:
      posterior: `[B, D]` means and log variances.
      key: a PRNG key, consumed here.
      users: int32[B], numbers that address the noise; positions in the batch by default.

    Returns:
      float32[B, D].
    """
    count, dim = posterior.mean.shape
    if users is None:
        users = jnp.arange(count, dtype=jnp.int32)
    return posterior.mean + jnp.exp(0.5 * posterior.logvar) * user_normals(users, dim, key=key)
