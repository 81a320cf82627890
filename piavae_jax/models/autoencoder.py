"""Autoencoders that are no distribution: Multi-DAE (Liang et al. 2018), and the linear one of Lobel et al. (2020)."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from piavae_jax.errors import UserError
from piavae_jax.models.assembly import assemble
from piavae_jax.models.checks import require_precision, require_sizes
from piavae_jax.models.layers import InputLayer, Linear, OutputLayer
from piavae_jax.models.model import Model
from piavae_jax.types import EncoderInput, Posterior


def point_mass(code: jax.Array) -> Posterior:
    """The posterior that is certain of `code: [B, D]`: its log variance is -inf.

    `reparameterize` then returns the code, `anchor_loss` the loss at it, with the gradients of both. Its KL from a
    Gaussian is infinite: such a model is trained on its likelihood alone.
    """
    return Posterior(code, jnp.full_like(code, -jnp.inf))


class _Encoder(nn.Module):
    num_items: int
    hidden: tuple[int, ...]
    activation: Callable[[jax.Array], jax.Array]
    precision: str
    item_axis: str | None = None

    @nn.compact
    def __call__(self, inputs: EncoderInput) -> Posterior:
        features = self.activation(InputLayer(self.num_items, self.hidden[0], self.item_axis)(inputs))
        for size in self.hidden[1:]:
            features = self.activation(Linear(size, self.precision)(features))
        return point_mass(features)


def _autoencoder(
    num_items: int,
    hidden: tuple[int, ...],
    activation: Callable[[jax.Array], jax.Array],
    *,
    precision: str,
    item_axis: str | None,
) -> Model:
    return assemble(
        _Encoder(num_items, hidden, activation, precision),
        OutputLayer(num_items),
        num_items=num_items,
        latent_dim=hidden[-1],
        precision=precision,
        item_axis=item_axis,
    )


def multidae(
    num_items: int,
    *,
    hidden: Sequence[int] = (200,),
    precision: str = "float32",
    item_axis: str | None = None,
) -> Model:
    """Build Multi-DAE, `I - hidden - I` with tanh (Liang et al. 2018): no distribution, denoising by the input's mask.

    Args:
      num_items: I, size of the item vocabulary.
      hidden: sizes of all hidden layers in their order; the last is the code, D. `(600, 200, 600)` is a deeper one.
      precision: `float32`, `tf32` or `bfloat16`, what matrix products may round their factors to.
      item_axis: the mesh axis that items are split over, if any; see `Model.item_axis`.

    Returns:
      A `Model` of pure functions over float32 parameters, whose posterior is a `point_mass` and whose decoder is one
      linear layer.

    Raises:
      UserError: a size is not positive, there is no hidden layer, or the precision is unknown.
    """
    hidden = tuple(hidden)
    if not hidden:
        raise UserError("hidden must name at least one layer size, got (); the paper uses (200,)")
    require_sizes({"num_items": num_items, "the hidden sizes": min(hidden)})
    require_precision(precision)
    return _autoencoder(num_items, hidden, nn.tanh, precision=precision, item_axis=item_axis)


def linear_autoencoder(
    num_items: int,
    *,
    dim: int = 200,
    precision: str = "float32",
    item_axis: str | None = None,
) -> Model:
    """Build the linear `I - D - I` that Lobel et al. (2020) train with the WARP loss: two affine maps.

    Args:
      num_items: I, size of the item vocabulary.
      dim: D.
      precision: `float32`, `tf32` or `bfloat16`, what matrix products may round their factors to.
      item_axis: the mesh axis that items are split over, if any; see `Model.item_axis`.

    Returns:
      A `Model` of pure functions over float32 parameters, whose posterior is a `point_mass`.

    Raises:
      UserError: a size is not positive, or the precision is unknown.
    """
    require_sizes({"num_items": num_items, "dim": dim})
    require_precision(precision)
    return _autoencoder(num_items, (dim,), _identity, precision=precision, item_axis=item_axis)


def _identity(features: jax.Array) -> jax.Array:
    return features
