"""A `Model` of pure functions from two linen modules; private to this package."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from piavae_jax import item_parallel
from piavae_jax.linear import affine
from piavae_jax.models.model import Model
from piavae_jax.types import EncoderInput, FactoredLogits, Params, Posterior


def assemble(
    encoder: nn.Module,
    decoder: nn.Module,
    *,
    num_items: int,
    latent_dim: int,
    precision: str,
    item_axis: str | None,
) -> Model:
    """Build a `Model` whose parameters are those of the two modules.

    Args:
      encoder: `EncoderInput -> Posterior`, with a field `item_axis`, None here.
      decoder: `[B, D] -> FactoredLogits`, likewise.
      num_items: I.
      latent_dim: D.
      precision: of the product that gives the logits.
      item_axis: the mesh axis that `encode` and `decode` find the parameters split over, if any.
    """

    def init(key: jax.Array) -> dict:
        encoder_key, decoder_key = jax.random.split(key)
        no_rows = jnp.zeros((1, num_items), jnp.float32)
        no_latent = jnp.zeros((1, latent_dim), jnp.float32)
        return {
            "encoder": encoder.init(encoder_key, no_rows)["params"],
            "decoder": decoder.init(decoder_key, no_latent)["params"],
        }

    def encode(params: Params, inputs: EncoderInput) -> Posterior:
        return encoder.clone(item_axis=item_axis).apply({"params": params["encoder"]}, inputs)  # type: ignore[return-value]

    def decode_factored(params: Params, z: jax.Array) -> FactoredLogits:
        return decoder.clone(item_axis=item_axis).apply({"params": params["decoder"]}, z)  # type: ignore[return-value]

    def decode(params: Params, z: jax.Array) -> jax.Array:
        features, kernel, bias = decode_factored(params, z)
        return affine(item_parallel.copy_to_shards(features, item_axis), kernel, bias, precision)

    return Model(init, encode, decode, decode_factored, num_items, latent_dim, item_axis)
