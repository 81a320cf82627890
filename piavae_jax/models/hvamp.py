"""H+Vamp with gates (Kim & Suh 2019, "Enhancing VAEs for Collaborative Filtering"; Tomczak & Welling 2018)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from piavae_jax.errors import UserError
from piavae_jax.linear import affine
from piavae_jax.models.checks import require_precision, require_sizes
from piavae_jax.models.hierarchical import HierarchicalModel
from piavae_jax.models.initialization import HE
from piavae_jax.models.layers import InputLayer, Linear, OutputLayer
from piavae_jax.models.pseudo_inputs import init_pseudo_inputs, pseudo_rows
from piavae_jax.types import EncoderInput, FactoredLogits, Params, Posterior

_LOGVAR_BOUNDS = (-12.0, 4.0)  # Kim & Suh's; Tomczak & Welling have (-6, 2)


class _Shape(NamedTuple):
    num_items: int
    hidden: int
    latent_dim: int
    gated_layers: int
    precision: str


class _Network(nn.Module):
    """Layers that the four networks are made of: `(W x + b) * sigmoid(V x + c)`, W beside V in one kernel."""

    shape: _Shape

    def gated_rows(self, inputs: EncoderInput) -> jax.Array:
        return nn.glu(InputLayer(self.shape.num_items, 2 * self.shape.hidden, initialization=HE)(inputs))

    def gated(self, features: jax.Array, layers: int = 1) -> jax.Array:
        for _ in range(layers):
            features = nn.glu(Linear(2 * self.shape.hidden, self.shape.precision, HE)(features))
        return features

    def gated_pair(self, first: jax.Array, second: jax.Array) -> jax.Array:
        """All gated layers but the first, on the first layers of two inputs side by side."""
        return self.gated(jnp.concatenate([first, second], axis=-1), self.shape.gated_layers - 1)

    def gaussian(self, features: jax.Array) -> Posterior:
        output = Linear(2 * self.shape.latent_dim, self.shape.precision, HE)(features)
        mean, logvar = jnp.split(output, 2, axis=-1)
        return Posterior(mean, jnp.clip(logvar, *_LOGVAR_BOUNDS))


class _EncodeTop(_Network):
    @nn.compact
    def __call__(self, inputs: EncoderInput) -> Posterior:
        return self.gaussian(self.gated(self.gated_rows(inputs), self.shape.gated_layers - 1))


class _EncodeBottom(_Network):
    @nn.compact
    def __call__(self, inputs: EncoderInput, z2: jax.Array) -> Posterior:
        return self.gaussian(self.gated_pair(self.gated_rows(inputs), self.gated(z2)))


class _PriorBottom(_Network):
    @nn.compact
    def __call__(self, z2: jax.Array) -> Posterior:
        return self.gaussian(self.gated(z2, self.shape.gated_layers))


class _Decode(_Network):
    @nn.compact
    def __call__(self, z1: jax.Array, z2: jax.Array) -> FactoredLogits:
        features = self.gated_pair(self.gated(z1), self.gated(z2))
        return OutputLayer(self.shape.num_items, initialization=HE)(features)


def hvamp(
    num_items: int,
    *,
    hidden: int = 600,
    latent_dim: int = 200,
    gated_layers: int = 2,
    num_pseudo_inputs: int = 1000,
    precision: str = "float32",
    item_axis: str | None = None,
) -> HierarchicalModel:
    """Build H+Vamp with gates: two latent vectors, gated layers throughout, a VampPrior of learned pseudo-inputs.

    The order of layers, the bounds of log variances and the initial numbers are those of the authors' code. There the
    encoders drop out their inputs, each with a mask of its own, and pseudo-inputs too; here masks are the caller's, and
    `pseudo_posterior` is of whole pseudo-inputs.

    Args:
      num_items: I, size of the item vocabulary.
      hidden: H, size of every hidden layer.
      latent_dim: D, size of z1 and of z2.
      gated_layers: gated layers of each network; where it has two inputs, the first is one layer for either.
      num_pseudo_inputs: P, components of the prior. Each is a row of I parameters.
      precision: `float32`, `tf32` or `bfloat16`, what matrix products may round their factors to, except those with
        rows of items.
      item_axis: must be None.

    Returns:
      A `HierarchicalModel` of pure functions over float32 parameters.

    Raises:
      UserError: a size is not positive, there are fewer than two gated layers, the precision is unknown, or items are
        to be split.
    """
    require_sizes(
        {
            "num_items": num_items,
            "hidden": hidden,
            "latent_dim": latent_dim,
            "num_pseudo_inputs": num_pseudo_inputs,
        }
    )
    require_precision(precision)
    if gated_layers < 2:
        raise UserError(f"gated_layers must be at least 2, got {gated_layers}; the paper uses 2")
    if item_axis is not None:
        raise UserError(f"item_axis={item_axis!r} would split the pseudo-inputs, which are dense rows; pass None")
    shape = _Shape(num_items, hidden, latent_dim, gated_layers, precision)
    top, bottom, prior, output = _EncodeTop(shape), _EncodeBottom(shape), _PriorBottom(shape), _Decode(shape)

    def init(key: jax.Array) -> dict:
        keys = jax.random.split(key, 5)
        row, z = jnp.zeros((1, num_items)), jnp.zeros((1, latent_dim))
        return {
            "encoder": {"top": top.init(keys[0], row)["params"], "bottom": bottom.init(keys[1], row, z)["params"]},
            "decoder": {"bottom": prior.init(keys[2], z)["params"], "items": output.init(keys[3], z, z)["params"]},
            "prior": {"pseudo_inputs": init_pseudo_inputs(num_items, count=num_pseudo_inputs, key=keys[4])},
        }

    def encode_top(params: Params, inputs: EncoderInput) -> Posterior:
        return top.apply({"params": params["encoder"]["top"]}, inputs)  # type: ignore[return-value]

    def encode_bottom(params: Params, inputs: EncoderInput, z2: jax.Array) -> Posterior:
        return bottom.apply({"params": params["encoder"]["bottom"]}, inputs, z2)  # type: ignore[return-value]

    def prior_bottom(params: Params, z2: jax.Array) -> Posterior:
        return prior.apply({"params": params["decoder"]["bottom"]}, z2)  # type: ignore[return-value]

    def decode_factored(params: Params, z1: jax.Array, z2: jax.Array) -> FactoredLogits:
        return output.apply({"params": params["decoder"]["items"]}, z1, z2)  # type: ignore[return-value]

    def decode(params: Params, z1: jax.Array, z2: jax.Array) -> jax.Array:
        return affine(*decode_factored(params, z1, z2), precision)

    def pseudo_posterior(params: Params) -> Posterior:
        return encode_top(params, pseudo_rows(params["prior"]["pseudo_inputs"]))

    return HierarchicalModel(
        init,
        encode_top,
        encode_bottom,
        prior_bottom,
        decode,
        decode_factored,
        pseudo_posterior,
        num_items,
        latent_dim,
    )
