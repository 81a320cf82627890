"""What a model is: three pure functions."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from piavae_jax.types import EncoderInput, Params, Posterior


class Model(NamedTuple):
    """A variational autoencoder of users' rows as pure functions of its parameters."""

    init: Callable[[jax.Array], dict]
    """`init(key) -> params`, consuming the key; `params` has the entries `encoder` and `decoder`."""
    encode: Callable[[Params, EncoderInput], Posterior]
    """`encode(params, inputs) -> Posterior` with `[B, D]` means and log variances."""
    decode: Callable[[Params, jax.Array], jax.Array]
    """`decode(params, z: [B, D]) -> logits: [B, I]`."""
    num_items: int
    """I."""
    latent_dim: int
    """D."""
