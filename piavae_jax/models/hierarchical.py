"""What a model with two latent vectors is, and how it scores items."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax

from piavae_jax import masking
from piavae_jax.types import Batch, EncoderInput, FactoredLogits, Params, Posterior


class HierarchicalModel(NamedTuple):
    """A variational autoencoder `x -> z2 -> z1 -> x` as pure functions of its parameters.

    `q(z1, z2 | x) = q(z2 | x) q(z1 | x, z2)` and `p(x, z1, z2) = p(z2) p(z1 | z2) p(x | z1, z2)`, where p(z2) is a
    VampPrior: the mean of q(z2 | u) over pseudo-inputs u.
    """

    init: Callable[[jax.Array], dict]
    """`init(key) -> params`, consuming the key; `params` has the entries `encoder`, `decoder` and `prior`, the last
    with `pseudo_inputs: float32[P, I]`."""
    encode_top: Callable[[Params, EncoderInput], Posterior]
    """`encode_top(params, inputs) -> q(z2 | x)`, `[B, D]`."""
    encode_bottom: Callable[[Params, EncoderInput, jax.Array], Posterior]
    """`encode_bottom(params, inputs, z2: [B, D]) -> q(z1 | x, z2)`, `[B, D]`. The inputs may be masked anew."""
    prior_bottom: Callable[[Params, jax.Array], Posterior]
    """`prior_bottom(params, z2: [B, D]) -> p(z1 | z2)`, `[B, D]`."""
    decode: Callable[[Params, jax.Array, jax.Array], jax.Array]
    """`decode(params, z1: [B, D], z2: [B, D]) -> logits: [B, I]`."""
    decode_factored: Callable[[Params, jax.Array, jax.Array], FactoredLogits]
    """`decode` without its last product, for likelihoods that never hold [B, I]."""
    pseudo_posterior: Callable[[Params], Posterior]
    """`pseudo_posterior(params) -> q(z2 | u)` of the pseudo-inputs, `[P, D]`: the components of p(z2)."""
    num_items: int
    """I."""
    latent_dim: int
    """D, of z1 and of z2."""


@cache  # compiled evaluations are found by the function: one model, one function
def make_hierarchical_score_fn(model: HierarchicalModel) -> Callable[[Params, Batch], jax.Array]:
    """Build `score(params, batch) -> logits: [B, I]`: no mask, both latent vectors at their means."""

    def score(params: Params, batch: Batch) -> jax.Array:
        inputs = masking.encoder_input(batch)
        z2 = model.encode_top(params, inputs).mean
        z1 = model.encode_bottom(params, inputs, z2).mean
        return model.decode(params, z1, z2)

    return score
