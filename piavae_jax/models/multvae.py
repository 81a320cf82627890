"""Multi-VAE (Liang et al. 2018): a symmetric tanh autoencoder with a multinomial likelihood."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from piavae_jax.models.assembly import assemble
from piavae_jax.models.checks import require_precision, require_sizes
from piavae_jax.models.layers import InputLayer, Linear, OutputLayer
from piavae_jax.models.model import Model
from piavae_jax.types import EncoderInput, FactoredLogits, Posterior


class _Encoder(nn.Module):
    num_items: int
    hidden: tuple[int, ...]
    latent_dim: int
    precision: str
    item_axis: str | None = None

    @nn.compact
    def __call__(self, inputs: EncoderInput) -> Posterior:
        first, *others = (*self.hidden, 2 * self.latent_dim)
        features = InputLayer(self.num_items, first, self.item_axis)(inputs)
        for size in others:
            features = Linear(size, self.precision)(nn.tanh(features))
        return Posterior(*jnp.split(features, 2, axis=-1))


class _Decoder(nn.Module):
    num_items: int
    hidden: tuple[int, ...]
    precision: str
    item_axis: str | None = None

    @nn.compact
    def __call__(self, z: jax.Array) -> FactoredLogits:
        features = z
        for size in self.hidden:
            features = nn.tanh(Linear(size, self.precision)(features))
        # The name under which checkpoints know the layer, and from which Flax derives its initial numbers.
        name = f"Linear_{len(self.hidden)}"
        return OutputLayer(self.num_items, self.item_axis, name=name)(features)


def multvae(
    num_items: int,
    *,
    hidden: Sequence[int] = (600,),
    latent_dim: int = 200,
    precision: str = "float32",
    item_axis: str | None = None,
) -> Model:
    """Build Multi-VAE, `I - hidden - (2 x D) - reversed hidden - I` with tanh (Liang et al. 2018).

    Args:
      num_items: I, size of the item vocabulary.
      hidden: sizes H of the encoder's hidden layers; the decoder mirrors them. None, `()`, is a linear VAE.
      latent_dim: D.
      precision: `float32`, `tf32` or `bfloat16`, what matrix products may round their factors to.
      item_axis: the mesh axis that items are split over, if any; see `Model.item_axis`.

    Returns:
      A `Model` of pure functions over float32 parameters.

    Raises:
      UserError: a size is not positive, or the precision is unknown.
    """
    hidden = tuple(hidden)
    require_sizes({"num_items": num_items, "latent_dim": latent_dim, "the hidden sizes": min(hidden, default=1)})
    require_precision(precision)
    return assemble(
        _Encoder(num_items, hidden, latent_dim, precision),
        _Decoder(num_items, hidden[::-1], precision),
        num_items=num_items,
        latent_dim=latent_dim,
        precision=precision,
        item_axis=item_axis,
    )
