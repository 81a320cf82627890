"""What a model is: a few pure functions."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from piavae_jax.types import EncoderInput, FactoredLogits, Params, Posterior


class Model(NamedTuple):
    """A variational autoencoder of users' rows as pure functions of its parameters."""

    init: Callable[[jax.Array], dict]
    """`init(key) -> params`, consuming the key; `params` has the entries `encoder` and `decoder`."""
    encode: Callable[[Params, EncoderInput], Posterior]
    """`encode(params, inputs) -> Posterior` with `[B, D]` means and log variances."""
    decode: Callable[[Params, jax.Array], jax.Array]
    """`decode(params, z: [B, D]) -> logits: [B, I]`."""
    decode_factored: Callable[[Params, jax.Array], FactoredLogits]
    """`decode` without its last product, for likelihoods that never hold [B, I]."""
    num_items: int
    """I."""
    latent_dim: int
    """D."""
    item_axis: str | None = None
    """The mesh axis that items are split over, if any. `init` returns whole arrays all the same; `encode` and `decode`
    then run inside `jax.shard_map` and see a device's shard of the parameters that `init` gives I rows or columns,
    padded to L = ceil(I / devices) items each. The logits are `[B, L]`, -inf at padding."""
