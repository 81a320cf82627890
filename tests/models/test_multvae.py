import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batch_factory import dense_rows, sparse_batch
from random_params import random_params

from piavae_jax import UserError, masking
from piavae_jax.models import init_anchors, make_score_fn, multvae

I, D = 30, 5
ROWS = dense_rows([1, 4, 30], I)
MODEL = multvae(I, hidden=(8, 7), latent_dim=D)
PARAMS = random_params(MODEL.init, scale=0.1)


def layers(params):
    return [(name, np.asarray(params[name]["kernel"]), np.asarray(params[name]["bias"])) for name in sorted(params)]


def test_encoder_is_the_published_network():
    inputs = masking.encoder_input(jnp.asarray(ROWS))
    parameters = {name: (kernel, bias) for name, kernel, bias in layers(PARAMS["encoder"])}
    hidden = np.tanh(np.asarray(inputs) @ parameters["InputLayer_0"][0] + parameters["InputLayer_0"][1])
    hidden = np.tanh(hidden @ parameters["Linear_0"][0] + parameters["Linear_0"][1])
    output = hidden @ parameters["Linear_1"][0] + parameters["Linear_1"][1]
    posterior = MODEL.encode(PARAMS, inputs)
    np.testing.assert_allclose(posterior.mean, output[:, :D], atol=1e-6)
    np.testing.assert_allclose(posterior.logvar, output[:, D:], atol=1e-6)


def test_decoder_mirrors_the_encoder_and_ends_linear():
    z = np.random.default_rng(0).normal(size=(4, D)).astype(np.float32)
    hidden = z
    for name, kernel, bias in layers(PARAMS["decoder"]):
        hidden = hidden @ kernel + bias
        if name != "Linear_2":
            hidden = np.tanh(hidden)
    np.testing.assert_allclose(MODEL.decode(PARAMS, jnp.asarray(z)), hidden, atol=1e-6)
    assert [kernel.shape for _, kernel, _ in layers(PARAMS["decoder"])] == [(D, 7), (7, 8), (8, I)]


def test_sparse_and_dense_rows_have_the_same_posterior():
    dense = MODEL.encode(PARAMS, masking.encoder_input(jnp.asarray(ROWS)))
    thin = MODEL.encode(PARAMS, masking.encoder_input(sparse_batch(ROWS, padding=3)))
    np.testing.assert_allclose(thin.mean, dense.mean, atol=1e-6)
    np.testing.assert_allclose(thin.logvar, dense.logvar, atol=1e-6)


def test_initialisation_is_glorot_with_small_biases():
    model = multvae(4000, hidden=(300,), latent_dim=100)
    kernel = model.init(jax.random.key(1))["encoder"]["InputLayer_0"]["kernel"]
    bound = np.sqrt(6 / (4000 + 300))
    assert np.abs(kernel).max() <= bound
    np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=0.02)
    bias = model.init(jax.random.key(1))["decoder"]["Linear_1"]["bias"]
    assert 0 < np.abs(bias).max() < 0.003
    anchors = init_anchors(4000, 100, std=0.01, key=jax.random.key(2))
    np.testing.assert_allclose([anchors.mean(), anchors.std()], [0.0, 0.01], atol=1e-4)


def test_scores_are_one_clean_deterministic_pass():
    score = make_score_fn(MODEL)
    posterior = MODEL.encode(PARAMS, masking.encoder_input(sparse_batch(ROWS)))
    np.testing.assert_array_equal(score(PARAMS, sparse_batch(ROWS)), MODEL.decode(PARAMS, posterior.mean))


def test_without_hidden_layers_it_is_affine():
    model = multvae(I, hidden=(), latent_dim=D)
    params = model.init(jax.random.key(0))
    assert jax.tree.map(jnp.shape, params["encoder"]) == {"InputLayer_0": {"bias": (2 * D,), "kernel": (I, 2 * D)}}
    inputs = np.asarray(ROWS, np.float32) / np.maximum(np.linalg.norm(ROWS, axis=1, keepdims=True), 1e-12)
    kernel, bias = (np.asarray(params["encoder"]["InputLayer_0"][name]) for name in ("kernel", "bias"))
    mean, logvar = model.encode(params, masking.encoder_input(sparse_batch(ROWS)))
    np.testing.assert_allclose(np.hstack([mean, logvar]), inputs @ kernel + bias, atol=1e-6)
    kernel, bias = (np.asarray(params["decoder"]["Linear_0"][name]) for name in ("kernel", "bias"))
    np.testing.assert_allclose(model.decode(params, mean), np.asarray(mean) @ kernel + bias, atol=1e-6)


@pytest.mark.parametrize("arguments", [{"hidden": (0,)}, {"latent_dim": 0}])
def test_impossible_sizes_are_refused(arguments):
    with pytest.raises(UserError, match=r"hidden|latent_dim"):
        multvae(I, **arguments)
