import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batch_factory import dense_rows, sparse_batch
from random_params import random_params

from piavae_jax import UserError, masking
from piavae_jax.models import recvae

I, H, D, LAYERS = 30, 8, 5, 4
ROWS = dense_rows([0, 1, 4, 30], I)
MODEL = recvae(I, hidden=H, layers=LAYERS, latent_dim=D)
PARAMS = random_params(MODEL.init)


def encoder_layers(params):
    """(kernel, bias, scale, shift) of each hidden layer as float64, then the (kernel, bias) of the last map."""
    encoder = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["encoder"])
    names = ["InputLayer_0", *(f"Linear_{layer}" for layer in range(LAYERS - 1))]
    norms = [encoder[f"LayerNorm_{layer}"] for layer in range(LAYERS)]
    hidden = [
        (encoder[name]["kernel"], encoder[name]["bias"], norm["scale"], norm["bias"])
        for name, norm in zip(names, norms, strict=True)
    ]
    last = encoder[f"Linear_{LAYERS - 1}"]
    return hidden, (last["kernel"], last["bias"])


def oracle_posterior(rows, params):
    """The encoder layer by layer from its formula, in float64."""
    hidden, (kernel, bias) = encoder_layers(params)
    x = rows / np.maximum(np.sqrt(rows.sum(axis=1, keepdims=True)), 1.0)
    done = []
    for weights, offset, scale, shift in hidden:
        linear = (done[-1] if done else x) @ weights + offset + sum(done)
        swish = linear / (1 + np.exp(-linear))
        centred = swish - swish.mean(axis=1, keepdims=True)
        done.append(centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 0.1) * scale + shift)
    output = done[-1] @ kernel + bias
    return output[:, :D], output[:, D:]


def test_encoder_is_the_published_network():
    posterior = MODEL.encode(PARAMS, masking.encoder_input(jnp.asarray(ROWS)))
    mean, logvar = oracle_posterior(ROWS.astype(np.float64), PARAMS)
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(posterior.logvar, logvar, rtol=1e-4, atol=1e-4)


def test_decoder_is_one_linear_layer():
    z = np.random.default_rng(1).normal(size=(4, D)).astype(np.float32)
    kernel, bias = np.asarray(PARAMS["decoder"]["kernel"]), np.asarray(PARAMS["decoder"]["bias"])
    np.testing.assert_allclose(MODEL.decode(PARAMS, jnp.asarray(z)), z @ kernel + bias, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(MODEL.decode_factored(PARAMS, jnp.asarray(z)).features, z)


def torch_loss_and_gradients(rows, params):
    """mean, log variance and logits of a torch module with the same weights, and the gradients of `scalar` of them."""
    torch = pytest.importorskip("torch")

    def leaf(array):
        return torch.tensor(np.asarray(array, np.float64), requires_grad=True)

    weights = jax.tree.map(leaf, params)
    x = torch.tensor(rows, dtype=torch.float64)
    x = x / (x.pow(2).sum(dim=1, keepdim=True).sqrt() + 1e-10)
    done = []
    for layer in range(LAYERS):
        linear = weights["encoder"][f"Linear_{layer - 1}" if layer else "InputLayer_0"]
        norm = weights["encoder"][f"LayerNorm_{layer}"]
        mapped = torch.nn.functional.linear(done[-1] if done else x, linear["kernel"].T, linear["bias"])
        active = torch.nn.functional.silu(mapped + sum(done))
        done.append(torch.nn.functional.layer_norm(active, (H,), norm["scale"], norm["bias"], eps=0.1))
    last = weights["encoder"][f"Linear_{LAYERS - 1}"]
    mean, logvar = torch.nn.functional.linear(done[-1], last["kernel"].T, last["bias"]).split(D, dim=1)
    decoder = weights["decoder"]
    logits = torch.nn.functional.linear(mean, decoder["kernel"].T, decoder["bias"])
    loss = (torch.log_softmax(logits, dim=1)[:, ::3]).sum() + (0.1 * logvar).sin().sum()
    loss.backward()
    return loss.item(), jax.tree.map(lambda tensor: tensor.grad.numpy(), weights)


def test_value_and_gradients_are_those_of_torch():
    def loss(params):
        posterior = MODEL.encode(params, masking.encoder_input(sparse_batch(ROWS)))
        log_softmax = jax.nn.log_softmax(MODEL.decode(params, posterior.mean))
        return jnp.sum(log_softmax[:, ::3]) + jnp.sum(jnp.sin(0.1 * posterior.logvar))

    expected, expected_gradients = torch_loss_and_gradients(ROWS, PARAMS)
    value, gradients = jax.jit(jax.value_and_grad(loss))(PARAMS)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected_gradients), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())


def test_parameters_start_as_those_of_torch():
    params = recvae(4000, hidden=300, latent_dim=100).init(jax.random.key(1))
    for layer, fan_in in ((params["encoder"]["InputLayer_0"], 4000), (params["encoder"]["Linear_0"], 300)):
        bound = fan_in**-0.5
        for values in layer.values():
            assert np.abs(values).max() <= bound
            np.testing.assert_allclose([values.mean(), values.std()], [0, bound / np.sqrt(3)], atol=0.1 * bound)
    np.testing.assert_allclose(np.abs(params["decoder"]["bias"]).max(), 0.1, rtol=0.01)
    norm = params["encoder"]["LayerNorm_4"]
    np.testing.assert_array_equal([norm["scale"], norm["bias"]], [[1.0] * 300, [0.0] * 300])


def test_one_layer_is_enough():
    model = recvae(I, hidden=H, layers=1, latent_dim=D)
    assert sorted(model.init(jax.random.key(0))["encoder"]) == ["InputLayer_0", "LayerNorm_0", "Linear_0"]


@pytest.mark.parametrize("arguments", [{"hidden": 0}, {"layers": 0}, {"latent_dim": -1}, {"precision": "half"}])
def test_impossible_settings_are_refused(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(UserError, match=f"{name}.*{value}"):
        recvae(I, **arguments)
