import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads
from random_params import random_params

from piavae_jax.models import FeatureNorm, critic, critic_features, init_critic, norm_loss

GENERATOR = np.random.default_rng(0)
FEATURES = jnp.asarray(GENERATOR.gamma(2.0, (20.0, 20.0, 150.0), (6, 3)), jnp.float32)
NORM = FeatureNorm(jnp.array([30.0, 45.0, 250.0]), jnp.array([500.0, 900.0, 3e4]))
PARAMS = {**random_params(init_critic, scale=0.1), "norm": NORM}

predict = jax.jit(critic)


def test_features_are_counts_and_likelihood_in_this_order():
    features = critic_features(jnp.array([3, 0]), jnp.array([2, 5]), jnp.array([7.5, 1.25]))
    np.testing.assert_array_equal(features, [[3, 2, 7.5], [0, 5, 1.25]])
    assert features.dtype == jnp.float32


@pytest.mark.parametrize("shape", [(2, 1), (3,)])
def test_features_of_other_shapes_are_refused(shape):
    with pytest.raises(AssertionError):
        critic_features(jnp.ones(2), jnp.ones(2), jnp.ones(shape))


def test_critic_is_the_published_network():
    features, mean, variance = (np.asarray(array, np.float64) for array in (FEATURES, *NORM))
    values = (features - mean) / np.sqrt(variance + 0.001)
    sizes = []
    for layer in range(4):
        weights = {name: np.asarray(array, np.float64) for name, array in PARAMS["layers"][f"Linear_{layer}"].items()}
        values = values @ weights["kernel"] + weights["bias"]
        values = np.maximum(values, 0) if layer < 3 else 1 / (1 + np.exp(-values))
        sizes.append(values.shape[1])
    assert sizes == [100, 100, 10, 1]
    np.testing.assert_allclose(predict(PARAMS, FEATURES), values[:, 0], rtol=1e-5)
    np.testing.assert_allclose(critic(PARAMS, FEATURES[:1]), values[:1, 0], rtol=1e-5)


def test_critic_sees_features_in_units_of_their_deviation():
    scale = jnp.array([2.0, 0.5, 4.0])
    moved = {**PARAMS, "norm": FeatureNorm(scale * NORM.mean + 1, scale**2 * (NORM.variance + 0.001) - 0.001)}
    np.testing.assert_allclose(predict(moved, FEATURES * scale[None, :] + 1), predict(PARAMS, FEATURES), rtol=1e-4)


def test_gradient_is_the_numerical_one_in_layers_and_likelihood():
    def total(layers, standard):
        features = NORM.mean[None, :] + jnp.sqrt(NORM.variance)[None, :] * standard
        return jnp.sum(predict({**PARAMS, "layers": layers}, features))

    standard = jnp.asarray(GENERATOR.normal(size=(6, 3)), jnp.float32)
    check_grads(total, (PARAMS["layers"], standard), order=1, modes=["rev"], atol=1e-2, rtol=1e-2, eps=1e-3)


def test_training_the_critic_leaves_the_statistics_alone():
    gradient = jax.jit(jax.grad(lambda params: jnp.sum(critic(params, FEATURES))))(PARAMS)
    for leaf in gradient["norm"]:
        np.testing.assert_array_equal(leaf, 0.0)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient["layers"]))


def test_a_step_of_descent_is_the_running_average():
    rate, row_mask = 0.01, np.array([True, True, True, True, False, False])

    def mean_loss(norm):
        return jnp.sum(jnp.where(row_mask, norm_loss(norm, FEATURES), 0.0)) / 4.0

    optimizer = optax.sgd(rate)
    updates, _ = optimizer.update(jax.jit(jax.grad(mean_loss))(NORM), optimizer.init(NORM))
    mean, variance = optax.apply_updates(NORM, updates)
    shown = np.asarray(FEATURES, np.float64)[row_mask]
    np.testing.assert_allclose(mean, NORM.mean + rate * (shown.mean(axis=0) - NORM.mean), rtol=1e-6)
    around = ((shown - np.asarray(NORM.mean)) ** 2).mean(axis=0)
    np.testing.assert_allclose(variance, NORM.variance + rate * (around - NORM.variance), rtol=1e-6)


def test_many_steps_find_the_mean_and_the_variance():
    step = jax.grad(lambda norm: jnp.mean(norm_loss(norm, FEATURES)))

    def descend(norm, _):
        return jax.tree.map(lambda value, slope: value - 0.1 * slope, norm, step(norm)), None

    norm, _ = jax.jit(lambda norm: jax.lax.scan(descend, norm, length=300))(init_critic(jax.random.key(1))["norm"])
    np.testing.assert_allclose(norm.mean, np.mean(FEATURES, axis=0), rtol=1e-5)
    np.testing.assert_allclose(norm.variance, np.var(FEATURES, axis=0), rtol=1e-4)


def test_norm_loss_has_one_value_a_user_and_no_gradient_for_them():
    value = jax.jit(norm_loss)(FeatureNorm(jnp.zeros(3), jnp.ones(3)), jnp.array([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(value, [0.5 * (1 + 4 + 0 + 9 + 1), 0.5 * 3])
    slope = jax.jit(jax.grad(lambda features: jnp.sum(norm_loss(NORM, features))))(FEATURES)
    np.testing.assert_array_equal(slope, 0.0)


def test_parameters_start_glorot_and_without_bias():
    params = init_critic(jax.random.key(2))
    for fan_in, fan_out, layer in zip((3, 100, 100, 10), (100, 100, 10, 1), sorted(params["layers"]), strict=True):
        bound = np.sqrt(6 / (fan_in + fan_out))
        kernel = params["layers"][layer]["kernel"]
        assert kernel.shape == (fan_in, fan_out)
        assert 0.7 * bound < np.abs(kernel).max() <= bound
        np.testing.assert_array_equal(params["layers"][layer]["bias"], 0.0)
    np.testing.assert_array_equal(params["norm"], [[0.0] * 3, [1.0] * 3])
