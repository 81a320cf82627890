"""The affine map behind every dense layer, with a gradient that XLA's CPU backend runs at full speed."""

import chex
import jax
import jax.numpy as jnp


@jax.custom_vjp
def affine(inputs: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """`inputs @ kernel + bias`: `[B, F] x [F, G] + [G] -> [B, G]`.

    The value and the gradient are those of the plain expression. Its gradient spends most of an ML-20M step in two
    places where the compiler does badly, a product that reads the features by column and a sum over rows (measured in
    `bench/NOTES.md`); here the features are transposed first, and the sum is a product with ones.
    """
    chex.assert_rank([inputs, kernel, bias], [2, 2, 1])
    return inputs @ kernel + bias[None, :]


def _forward(inputs: jax.Array, kernel: jax.Array, bias: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return affine(inputs, kernel, bias), (inputs, kernel)


def _backward(
    residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    inputs, kernel = residuals
    # The barrier keeps the compiler from folding the transposition back into the product.
    by_feature = jax.lax.optimization_barrier(inputs.T)
    ones = jnp.ones((1, inputs.shape[0]), cotangent.dtype)
    to_bias = jnp.matmul(ones, cotangent, precision=jax.lax.Precision.HIGHEST)[0]
    return cotangent @ kernel.T, by_feature @ cotangent, to_bias


affine.defvjp(_forward, _backward)
