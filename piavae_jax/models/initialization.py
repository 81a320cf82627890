"""How the parameters of linear layers begin, as the models' authors have it; private to this package."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from flax import linen as nn


class Initialization(NamedTuple):
    """How a linear layer's kernel and bias are drawn."""

    kernel: nn.initializers.Initializer
    bias: Callable[[int], nn.initializers.Initializer]
    """Of the number of the layer's inputs."""


def _uniform_bias(fan_in: int) -> nn.initializers.Initializer:
    bound = fan_in**-0.5

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


GLOROT = Initialization(nn.initializers.xavier_uniform(), lambda _: nn.initializers.truncated_normal(0.001))
"""Liang et al. (2018): Glorot uniform weights, biases from a truncated normal of standard deviation 0.001."""

TORCH = Initialization(nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"), _uniform_bias)
"""What PyTorch's `nn.Linear` starts from: U(-b, b) with b = 1 / sqrt(inputs), for weights and biases."""

HE = Initialization(nn.initializers.variance_scaling(2.0, "fan_in", "normal"), _uniform_bias)
"""N(0, 2 / inputs) for weights, and for biases what PyTorch starts from, as Tomczak & Welling (2018) have it."""
