"""The posteriors of many users at once."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax import masking
from piavae_jax.data.batches import DeviceRows, gather_batch, to_device
from piavae_jax.data.csr import CSR
from piavae_jax.models import Model
from piavae_jax.training.recipes.parts import Mask
from piavae_jax.types import Params, Posterior, SparseBatch


def encode_rows(
    model: Model,
    params: Params,
    rows: CSR,
    *,
    users: np.ndarray | None = None,
    mask: Mask | None = None,
    key: jax.Array | None = None,
    batch_size: int = 500,
) -> Posterior:
    """Encode users' rows, as evaluation does or under a mask.

    Args:
      model: with a Gaussian posterior.
      params: of the model.
      rows: U users' interactions.
      users: int[B], the rows to encode; all in their order by default.
      mask: `mask(batch, key)`, such as `Subject.mask`; None encodes the whole rows. Its function is compiled for: pass
        the same object again rather than an equal one.
      key: a PRNG key for the mask, consumed here. A user's mask depends on the key and the row number alone.
      batch_size: users at a time.

    Returns:
      A `Posterior` of NumPy arrays, float32[B, D].
    """
    users = np.arange(rows.num_rows) if users is None else np.asarray(users)
    order = _in_batches(users, batch_size)
    capacity = max(int(np.where(order >= 0, rows.lengths[order], 0).sum(axis=-1).max(initial=1)), 1)
    key = jax.random.key(0) if key is None else key
    posterior = jax.device_get(_encode(model, mask, params, to_device(rows), order, key, capacity=capacity))
    return jax.tree.map(lambda part: part.reshape(-1, model.latent_dim)[: len(users)], posterior)


def _in_batches(users: np.ndarray, batch_size: int) -> np.ndarray:
    size = min(batch_size, max(len(users), 1))
    return np.pad(users.astype(np.int32), (0, -len(users) % size), constant_values=-1).reshape(-1, size)


@partial(jax.jit, static_argnums=(0, 1), static_argnames="capacity")
def _encode(
    model: Model,
    mask: Mask | None,
    params: Params,
    rows: DeviceRows,
    order: jax.Array,
    key: jax.Array,
    *,
    capacity: int,
) -> Posterior:
    def encode(users: jax.Array) -> Posterior:
        batch = gather_batch(rows, users, capacity=capacity)
        return model.encode(params, masking.encoder_input(batch) if mask is None else mask(batch, key))

    return jax.lax.map(encode, order)


def batch_of(rows: CSR, users: np.ndarray) -> SparseBatch:
    """The sparse batch of some users' rows: `users: int[B]`, with no slot to spare."""
    capacity = max(int(rows.lengths[users].sum()), 1)
    return gather_batch(to_device(rows), jnp.asarray(users, jnp.int32), capacity=capacity)


def dense_rows(batch: SparseBatch, num_items: int) -> jax.Array:
    """float32[B, I] of zeros and ones, for the few users at a time that this package decodes."""
    return jnp.zeros((batch.lengths.shape[0], num_items)).at[batch.rows, batch.items].set(1.0, mode="drop")


def take(posterior: Posterior, index: np.ndarray) -> Posterior:
    """The posteriors of some users, `[B, D]`, or of anything else that indexes users."""
    return Posterior(posterior.mean[index], posterior.logvar[index])
