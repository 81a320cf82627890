"""The affine map behind every dense layer: its precision, and a gradient that XLA's CPU backend runs at full speed."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
from jax.lax import Precision


def product(left: jax.Array, right: jax.Array, *, precision: str = "float32") -> jax.Array:
    """`left @ right` in float32, of factors `[B, F]` and `[F, G]` rounded to one of `config.PRECISIONS`.

    `tf32` keeps 10 bits of mantissa on NVIDIA GPUs since Ampere, and is float32 where there is no such thing;
    `bfloat16` keeps 7 everywhere.
    """
    if precision == "bfloat16":
        left, right = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
        return jnp.matmul(left, right, preferred_element_type=jnp.float32)
    return jnp.matmul(left, right, precision=Precision.HIGH if precision == "tf32" else Precision.HIGHEST)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def affine(inputs: jax.Array, kernel: jax.Array, bias: jax.Array, precision: str = "float32") -> jax.Array:
    """`inputs @ kernel + bias`: `[B, F] x [F, G] + [G] -> [B, G]`, with the products of `product`.

    The value and the gradient are those of the plain expression. Its gradient spends most of an ML-20M step in two
    places where the CPU compiler does badly, a product that reads the features by column and a sum over rows (measured
    in `bench/NOTES.md`); here the features are transposed first, and the sum is a product with ones.
    """
    chex.assert_rank([inputs, kernel, bias], [2, 2, 1])
    return product(inputs, kernel, precision=precision) + bias[None, :]


def _forward(
    inputs: jax.Array, kernel: jax.Array, bias: jax.Array, precision: str
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # Spelled out: a second derivative cannot be taken through a function that has a gradient of its own.
    return product(inputs, kernel, precision=precision) + bias[None, :], (inputs, kernel)


def _backward(
    precision: str, residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    inputs, kernel = residuals
    # The barrier keeps the compiler from folding the transposition back into the product.
    by_feature = jax.lax.optimization_barrier(inputs.T)
    to_inputs = product(cotangent, kernel.T, precision=precision)
    to_kernel = product(by_feature, cotangent, precision=precision)
    to_bias = product(jnp.ones((1, inputs.shape[0]), cotangent.dtype), cotangent)[0]
    return to_inputs, to_kernel, to_bias


affine.defvjp(_forward, _backward)
