"""Vectors of a trained model: its anchors, its decoder's items, its users' posterior means."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax import masking
from piavae_jax.data.batches import PackedBatch, unpack_batch
from piavae_jax.data.csr import CSR
from piavae_jax.errors import UserError
from piavae_jax.models import HierarchicalModel, Model
from piavae_jax.serving.scorer import batches
from piavae_jax.training.fusion import FusedParams


def members(params: Any) -> tuple[Mapping[str, Any], ...]:
    """The parameters of a fused model's autoencoders, or those of the one that there is."""
    return params.members if isinstance(params, FusedParams) else (params,)


def anchors(params: Any) -> list[np.ndarray]:
    """float32[I, D] of each member, its anchors; empty for a model without PIA."""
    return [np.asarray(member["anchors"]) for member in members(params) if "anchors" in member]


def decoder_vectors(params: Any, models: Sequence[Model | HierarchicalModel]) -> list[np.ndarray]:
    """float32[I, H] of each member, the rows that its last layer multiplies with to score each item."""
    return [_last_rows(member, model) for member, model in zip(members(params), models, strict=True)]


def _last_rows(params: Mapping[str, Any], model: Model | HierarchicalModel) -> np.ndarray:
    z = jnp.zeros((1, model.latent_dim), jnp.float32)
    latents = (z, z) if isinstance(model, HierarchicalModel) else (z,)
    return np.asarray(model.decode_factored(params, *latents).kernel).T


def posterior_means(params: Any, model: Model | HierarchicalModel, rows: CSR) -> np.ndarray:
    """float32[U, D], the mean of each user's posterior; of a hierarchical model's upper latent vector.

    Raises:
      UserError: the model is an ensemble, whose members' latent spaces have nothing in common.
    """
    own = members(params)
    if len(own) > 1:
        raise UserError(f"users of an ensemble of {len(own)} have no one embedding: use the run of one member")
    encode = model.encode_top if isinstance(model, HierarchicalModel) else model.encode
    means = np.empty((rows.num_rows, model.latent_dim), np.float32)
    for batch in batches(rows, model.num_items):
        encoded = _means(own[0], batch.packed, encode=encode)
        means[batch.users] = np.asarray(encoded)[: batch.users.stop - batch.users.start]
    return means


@partial(jax.jit, static_argnames="encode")
def _means(params: Any, packed: PackedBatch, *, encode: Any) -> jax.Array:
    return encode(params, masking.encoder_input(unpack_batch(packed))).mean
