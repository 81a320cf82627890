"""CDAE (Wu et al. 2016, "Collaborative Denoising Auto-Encoders"): a denoising autoencoder with a node for each user."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from piavae_jax import sparse
from piavae_jax.models.assembly import assemble
from piavae_jax.models.autoencoder import point_mass
from piavae_jax.models.checks import require_precision, require_sizes
from piavae_jax.models.layers import InputLayer, OutputLayer
from piavae_jax.models.model import Model
from piavae_jax.types import EncoderInput, Params, Posterior, SparseInput


class CDAE(NamedTuple):
    """A `Model`, and its encoder for the users that it is trained on."""

    model: Model
    """`init` also draws `params["users"]`, float32[U, D]. `encode` is without them: a held-out user has no node."""
    encode_users: Callable[[Params, EncoderInput], Posterior]
    """`encode` with the node of each row's user, for training: `batch.users` of sparse rows, the position of dense
    ones. A number outside [0, U), such as that of a row of padding, has no node."""


class _Encoder(nn.Module):
    num_items: int
    hidden: int
    item_axis: str | None = None

    @nn.compact
    def __call__(self, inputs: EncoderInput, nodes: jax.Array | float = 0.0) -> Posterior:
        return point_mass(nn.tanh(InputLayer(self.num_items, self.hidden, self.item_axis)(inputs) + nodes))


def _own_nodes(nodes: jax.Array, inputs: EncoderInput) -> jax.Array:
    """The node of each row, float32[B, D]; zero where there is none."""
    users = sparse.row_users(inputs.batch if isinstance(inputs, SparseInput) else inputs)
    known = (users >= 0) & (users < nodes.shape[0])
    return jnp.where(known[:, None], jnp.take(nodes, users, axis=0, mode="clip"), 0.0)


def cdae(
    num_items: int,
    *,
    num_users: int,
    hidden: int = 200,
    precision: str = "float32",
    item_axis: str | None = None,
) -> CDAE:
    """Build CDAE, `tanh(W x + b + V_u)` and one linear layer back to items.

    The nodes start as wide as the rows of W, as in the authors' code. Theirs ties the two layers and has a logistic
    activation unless told otherwise; here it is Multi-DAE with nodes.

    Args:
      num_items: I, size of the item vocabulary.
      num_users: U, training users, numbered from 0.
      hidden: D, size of the hidden layer.
      precision: `float32`, `tf32` or `bfloat16`, what matrix products may round their factors to.
      item_axis: the mesh axis that items are split over, if any; see `Model.item_axis`. Nodes are not split.

    Returns:
      The model and its encoder for training; both posteriors are a `point_mass`.

    Raises:
      UserError: a size is not positive, or the precision is unknown.
    """
    require_sizes({"num_items": num_items, "num_users": num_users, "hidden": hidden})
    require_precision(precision)
    encoder = _Encoder(num_items, hidden)
    body = assemble(
        encoder,
        OutputLayer(num_items),
        num_items=num_items,
        latent_dim=hidden,
        precision=precision,
        item_axis=item_axis,
    )

    def init(key: jax.Array) -> dict:
        body_key, users_key = jax.random.split(key)
        bound = (6 / (num_items + hidden)) ** 0.5
        users = jax.random.uniform(users_key, (num_users, hidden), minval=-bound, maxval=bound)
        return {**body.init(body_key), "users": users}

    def encode_users(params: Params, inputs: EncoderInput) -> Posterior:
        nodes = _own_nodes(params["users"], inputs)
        return encoder.clone(item_axis=item_axis).apply({"params": params["encoder"]}, inputs, nodes)  # type: ignore[return-value]

    return CDAE(body._replace(init=init), encode_users)
