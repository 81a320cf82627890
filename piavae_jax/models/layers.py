"""Linen layers that the models share; private to this package."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from piavae_jax import item_parallel, sparse
from piavae_jax.linear import affine
from piavae_jax.models.initialization import GLOROT, Initialization
from piavae_jax.types import EncoderInput, FactoredLogits


class InputLayer(nn.Module):
    """A linear layer on users' rows: `EncoderInput -> [B, features]`."""

    num_items: int
    features: int
    item_axis: str | None = None
    """The mesh axis that the kernel is split over, if any."""
    initialization: Initialization = GLOROT

    @nn.compact
    def __call__(self, inputs: EncoderInput) -> jax.Array:
        """Gather and sum the kernel rows of the visible interactions."""
        own_items = item_parallel.shard_size(self.num_items, self.item_axis)
        kernel = self.param("kernel", self.initialization.kernel, (own_items, self.features), jnp.float32)
        bias = self.param("bias", self.initialization.bias(self.num_items), (self.features,), jnp.float32)
        return sparse.matmul(inputs, kernel, item_axis=self.item_axis) + bias[None, :]


class Linear(nn.Module):
    """A dense linear layer: `[B, in] -> [B, features]`."""

    features: int
    precision: str = "float32"
    initialization: Initialization = GLOROT

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Apply the layer."""
        fan_in = inputs.shape[-1]
        kernel = self.param("kernel", self.initialization.kernel, (fan_in, self.features), jnp.float32)
        bias = self.param("bias", self.initialization.bias(fan_in), (self.features,), jnp.float32)
        return affine(inputs, kernel, bias, self.precision)


class OutputLayer(nn.Module):
    """A linear layer onto items, not multiplied out: `[B, in] -> FactoredLogits`."""

    num_items: int
    item_axis: str | None = None
    """The mesh axis that the kernel and the bias are split over, if any."""
    initialization: Initialization = GLOROT

    @nn.compact
    def __call__(self, features: jax.Array) -> FactoredLogits:
        """Put the features beside the layer's parameters."""
        own_items, fan_in = item_parallel.shard_size(self.num_items, self.item_axis), features.shape[-1]
        kernel = self.param("kernel", self.initialization.kernel, (fan_in, own_items), jnp.float32)
        bias = self.param("bias", self.initialization.bias(fan_in), (own_items,), jnp.float32)
        return FactoredLogits(features, kernel, item_parallel.mask_padding(bias, self.num_items, self.item_axis))
