"""Linen layers that the models share; private to this package."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from piavae_jax import sparse
from piavae_jax.models.linear import affine
from piavae_jax.types import EncoderInput

# Liang et al. (2018): Glorot uniform weights, biases from a truncated normal of standard deviation 0.001.
KERNEL_INIT = nn.initializers.xavier_uniform()
BIAS_INIT = nn.initializers.truncated_normal(0.001)


class InputLayer(nn.Module):
    """A linear layer on users' rows: `EncoderInput -> [B, features]`."""

    num_items: int
    features: int

    @nn.compact
    def __call__(self, inputs: EncoderInput) -> jax.Array:
        """Gather and sum the kernel rows of the visible interactions."""
        kernel = self.param("kernel", KERNEL_INIT, (self.num_items, self.features), jnp.float32)
        bias = self.param("bias", BIAS_INIT, (self.features,), jnp.float32)
        return sparse.matmul(inputs, kernel) + bias[None, :]


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
