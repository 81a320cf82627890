"""Linen layers that the models share; private to this package."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from piavae_jax import item_parallel, sparse
from piavae_jax.linear import affine
from piavae_jax.types import EncoderInput, FactoredLogits

# Liang et al. (2018): Glorot uniform weights, biases from a truncated normal of standard deviation 0.001.
KERNEL_INIT = nn.initializers.xavier_uniform()
BIAS_INIT = nn.initializers.truncated_normal(0.001)


class InputLayer(nn.Module):
    """A linear layer on users' rows: `EncoderInput -> [B, features]`."""

    num_items: int
    features: int
    item_axis: str | None = None
    """The mesh axis that the kernel is split over, if any."""

    @nn.compact
    def __call__(self, inputs: EncoderInput) -> jax.Array:
        """Gather and sum the kernel rows of the visible interactions."""
        own_items = item_parallel.shard_size(self.num_items, self.item_axis)
        kernel = self.param("kernel", KERNEL_INIT, (own_items, self.features), jnp.float32)
        bias = self.param("bias", BIAS_INIT, (self.features,), jnp.float32)
        return sparse.matmul(inputs, kernel, item_axis=self.item_axis) + bias[None, :]


class Linear(nn.Module):
    """A dense linear layer with the initialisation above: `[B, in] -> [B, features]`."""

    features: int
    precision: str = "float32"

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Apply the layer."""
        kernel = self.param("kernel", KERNEL_INIT, (inputs.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", BIAS_INIT, (self.features,), jnp.float32)
        return affine(inputs, kernel, bias, self.precision)


class OutputLayer(nn.Module):
    """A linear layer onto items, not multiplied out: `[B, in] -> FactoredLogits`, initialised as `Linear`."""

    num_items: int
    item_axis: str | None = None
    """The mesh axis that the kernel and the bias are split over, if any."""

    @nn.compact
    def __call__(self, features: jax.Array) -> FactoredLogits:
        """Put the features beside the layer's parameters."""
        own_items = item_parallel.shard_size(self.num_items, self.item_axis)
        kernel = self.param("kernel", KERNEL_INIT, (features.shape[-1], own_items), jnp.float32)
        bias = self.param("bias", BIAS_INIT, (own_items,), jnp.float32)
        return FactoredLogits(features, kernel, item_parallel.mask_padding(bias, self.num_items, self.item_axis))
