"""RecVAE (Shenbin et al. 2020, "RecVAE", section 3): a deep, densely connected encoder and a linear decoder."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from piavae_jax.models.assembly import assemble
from piavae_jax.models.checks import require_precision, require_sizes
from piavae_jax.models.initialization import TORCH
from piavae_jax.models.layers import InputLayer, Linear, OutputLayer
from piavae_jax.models.model import Model
from piavae_jax.types import EncoderInput, Posterior

_EPSILON = 0.1  # of LayerNorm, as in the authors' code: not small beside the variance of a layer's activations


class _Encoder(nn.Module):
    num_items: int
    hidden: int
    layers: int
    latent_dim: int
    precision: str
    item_axis: str | None = None

    @nn.compact
    def __call__(self, inputs: EncoderInput) -> Posterior:
        features = self._activate(InputLayer(self.num_items, self.hidden, self.item_axis, TORCH)(inputs))
        earlier = features
        for _ in range(1, self.layers):
            features = self._activate(Linear(self.hidden, self.precision, TORCH)(features) + earlier)
            earlier += features
        mean, logvar = jnp.split(Linear(2 * self.latent_dim, self.precision, TORCH)(features), 2, axis=-1)
        return Posterior(mean, logvar)

    def _activate(self, features: jax.Array) -> jax.Array:
        # The fast variance, E[x^2] - E[x]^2, would lose digits to cancellation.
        return nn.LayerNorm(_EPSILON, use_fast_variance=False)(nn.swish(features))


def recvae(
    num_items: int,
    *,
    hidden: int = 600,
    layers: int = 5,
    latent_dim: int = 200,
    precision: str = "float32",
    item_axis: str | None = None,
) -> Model:
    """Build RecVAE: `h_k = LayerNorm(swish(W_k h_{k-1} + b_k + h_1 + ... + h_{k-1}))`, then mean, logvar and `W z + b`.

    Only the body: the composite prior, the weight of the KL term and the turns of encoder and decoder belong to the
    objective. Parameters start as PyTorch starts those of `nn.Linear`, which the authors use.

    Args:
      num_items: I, size of the item vocabulary.
      hidden: H, size of every hidden layer of the encoder.
      layers: hidden layers of the encoder.
      latent_dim: D.
      precision: `float32`, `tf32` or `bfloat16`, what matrix products may round their factors to.
      item_axis: the mesh axis that items are split over, if any; see `Model.item_axis`.

    Returns:
      A `Model` of pure functions over float32 parameters; `decode_factored` has z for features.

    Raises:
      UserError: a size is not positive, or the precision is unknown.
    """
    require_sizes({"num_items": num_items, "hidden": hidden, "layers": layers, "latent_dim": latent_dim})
    require_precision(precision)
    return assemble(
        _Encoder(num_items, hidden, layers, latent_dim, precision),
        OutputLayer(num_items, initialization=TORCH),
        num_items=num_items,
        latent_dim=latent_dim,
        precision=precision,
        item_axis=item_axis,
    )
