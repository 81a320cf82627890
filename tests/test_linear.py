"""The affine map against the plain expression: value, gradients, and no silent loss of either."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from piavae_jax.linear import affine


def _arguments(rows=7, features=5, outputs=11):
    keys = jax.random.split(jax.random.key(0), 4)
    return (
        jax.random.normal(keys[0], (rows, features)),
        jax.random.normal(keys[1], (features, outputs)),
        jax.random.normal(keys[2], (outputs,)),
        jax.random.normal(keys[3], (rows, outputs)),
    )


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_value_and_gradients_are_those_of_the_plain_expression(rows):
    inputs, kernel, bias, weight = _arguments(rows)
    x, w, b, g = (np.asarray(value, np.float64) for value in (inputs, kernel, bias, weight))

    value, gradients = jax.jit(jax.value_and_grad(lambda *args: jnp.sum(affine(*args) * weight), argnums=(0, 1, 2)))(
        inputs, kernel, bias
    )

    np.testing.assert_allclose(affine(inputs, kernel, bias), x @ w + b, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(value, np.sum((x @ w + b) * g), rtol=1e-5)
    for ours, oracle in zip(gradients, (g @ w.T, x.T @ g, g.sum(axis=0)), strict=True):
        np.testing.assert_allclose(ours, oracle, rtol=1e-5, atol=1e-5)


def test_gradients_agree_with_finite_differences():
    inputs, kernel, bias, _ = _arguments()
    check_grads(lambda *args: jnp.tanh(affine(*args)), (inputs, kernel, bias), order=1, modes=["rev"])


def test_second_derivatives_are_those_of_the_plain_expression():
    inputs, kernel, bias, _ = _arguments(3, 2, 4)

    def curvature(layer):
        return jax.jit(jax.hessian(lambda kernel: jnp.sum(jnp.tanh(layer(inputs, kernel, bias)))))(kernel)

    plain = curvature(lambda inputs, kernel, bias: inputs @ kernel + bias[None, :])
    np.testing.assert_allclose(curvature(affine), plain, rtol=1e-4, atol=1e-5)


def test_ranks_are_checked():
    inputs, kernel, bias, _ = _arguments()
    with pytest.raises(AssertionError):
        affine(inputs[0], kernel, bias)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("tf32", 2e-3), ("bfloat16", 2e-2)])
def test_a_precision_rounds_the_factors_and_nothing_else(precision, tolerance):
    inputs, kernel, bias, weight = _arguments(64, 32, 16)
    arguments = (inputs, kernel, bias)

    def run(precision):
        def total(inputs, kernel, bias):
            return jnp.sum(affine(inputs, kernel, bias, precision) * weight)

        return (affine(*arguments, precision), *jax.grad(total, argnums=(0, 1, 2))(*arguments))

    for rounded, exact in zip(run(precision), run("float32"), strict=True):
        assert rounded.dtype == jnp.float32
        np.testing.assert_allclose(rounded, exact, atol=tolerance * float(jnp.abs(exact).max()))
    if precision == "bfloat16":  # TF32 is that of some GPUs
        assert float(jnp.abs(run(precision)[0] - run("float32")[0]).max()) > 1e-3
    np.testing.assert_array_equal(run(precision)[3], run("float32")[3])  # the bias's gradient is a sum, never rounded
