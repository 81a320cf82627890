import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batch_factory import dense_rows, sparse_batch
from random_params import random_params

from piavae_jax import UserError, masking
from piavae_jax.models import hvamp, make_hierarchical_score_fn

I, H, D, P = 30, 8, 5, 6
ROWS = dense_rows([0, 1, 4, 30], I)
B = len(ROWS)
MODEL = hvamp(I, hidden=H, latent_dim=D, gated_layers=3, num_pseudo_inputs=P)
PARAMS = random_params(MODEL.init, scale=0.7)  # log variances and pseudo-inputs on both sides of their bounds
Z1, Z2 = jax.random.normal(jax.random.key(1), (2, B, D))


def affine(layer, features):
    return features @ layer["kernel"] + layer["bias"]


def gated(xp, layer, features):
    """Half of a layer's outputs are gates; each layer has weights and gates of its own in the authors' code."""
    kernel, bias = layer["kernel"], layer["bias"]
    gate = 1 / (1 + xp.exp(-(features @ kernel[:, H:] + bias[H:])))
    return (features @ kernel[:, :H] + bias[:H]) * gate


def gaussian(xp, layer, features):
    output = affine(layer, features)
    return output[:, :D], xp.clip(output[:, D:], -12, 4)


def oracle_top(xp, net, x):
    features = gated(xp, net["InputLayer_0"], x)
    return gaussian(xp, net["Linear_2"], gated(xp, net["Linear_1"], gated(xp, net["Linear_0"], features)))


def oracle_bottom(xp, net, x, z2):
    pair = xp.concatenate([gated(xp, net["InputLayer_0"], x), gated(xp, net["Linear_0"], z2)], axis=1)
    return gaussian(xp, net["Linear_3"], gated(xp, net["Linear_2"], gated(xp, net["Linear_1"], pair)))


def oracle_prior(xp, net, z2):
    features = gated(xp, net["Linear_0"], z2)
    return gaussian(xp, net["Linear_3"], gated(xp, net["Linear_2"], gated(xp, net["Linear_1"], features)))


def oracle_logits(xp, net, z1, z2):
    pair = xp.concatenate([gated(xp, net["Linear_0"], z1), gated(xp, net["Linear_1"], z2)], axis=1)
    return affine(net["OutputLayer_0"], gated(xp, net["Linear_3"], gated(xp, net["Linear_2"], pair)))


def oracle(xp, params, x, z1, z2):
    """Everything that the model computes, layer by layer from the paper, in NumPy's or torch's arrays."""
    encoder, decoder = params["encoder"], params["decoder"]
    return (
        *oracle_top(xp, encoder["top"], x),
        *oracle_bottom(xp, encoder["bottom"], x, z2),
        *oracle_prior(xp, decoder["bottom"], z2),
        oracle_logits(xp, decoder["items"], z1, z2),
        *oracle_top(xp, encoder["top"], xp.clip(params["prior"]["pseudo_inputs"], 0, 1)),
    )


def computed(params, inputs, z1, z2):
    return (
        *MODEL.encode_top(params, inputs),
        *MODEL.encode_bottom(params, inputs, z2),
        *MODEL.prior_bottom(params, z2),
        MODEL.decode(params, z1, z2),
        *MODEL.pseudo_posterior(params),
    )


def inputs_of(rows):
    return rows / np.maximum(np.sqrt(rows.sum(axis=1, keepdims=True)), 1.0)


def test_networks_are_the_published_ones():
    arguments = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (PARAMS, inputs_of(ROWS), Z1, Z2))
    expected = oracle(np, *arguments)
    values = jax.jit(computed)(PARAMS, masking.encoder_input(sparse_batch(ROWS, padding=3)), Z1, Z2)
    assert [value.shape for value in values] == [(B, D)] * 6 + [(B, I)] + [(P, D)] * 2
    for value, ours in zip(values, expected, strict=True):
        np.testing.assert_allclose(value, ours, rtol=1e-4, atol=1e-4 * np.abs(ours).max())
    logvars = np.concatenate([values[index].ravel() for index in (1, 3, 5, 8)])
    assert (logvars == -12).any()
    assert (logvars == 4).any()


def test_gradients_are_those_of_torch():
    torch = pytest.importorskip("torch")

    def total(values, weight):
        return sum((value * weight(value)).sum() for value in values)

    def scalar(params, z1, z2):
        values = computed(params, masking.encoder_input(sparse_batch(ROWS)), z1, z2)
        return total(values, lambda value: jnp.arange(1.0, value.shape[1] + 1)[None, :])

    def leaf(array):
        return torch.tensor(np.asarray(array, np.float64), requires_grad=True)

    theirs = jax.tree.map(leaf, (PARAMS, Z1, Z2))
    rows = torch.tensor(inputs_of(ROWS.astype(np.float64)))
    values = oracle(torch, theirs[0], rows, *theirs[1:])
    total(values, lambda value: torch.arange(1.0, value.shape[1] + 1)).backward()
    gradients = jax.jit(jax.grad(scalar, argnums=(0, 1, 2)))(PARAMS, Z1, Z2)
    for ours, tensor in zip(jax.tree.leaves(gradients), jax.tree.leaves(theirs), strict=True):
        expected = tensor.grad.numpy()
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_sparse_rows_are_dense_rows_and_jit_changes_nothing():
    thin = jax.jit(computed)(PARAMS, masking.encoder_input(sparse_batch(ROWS, padding=3)), Z1, Z2)
    dense = computed(PARAMS, masking.encoder_input(jnp.asarray(ROWS)), Z1, Z2)
    for ours, expected in zip(thin, dense, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_scores_pass_both_means_on():
    batch = sparse_batch(ROWS, padding=3)
    params, x = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (PARAMS, inputs_of(ROWS)))
    z2 = oracle_top(np, params["encoder"]["top"], x)[0]
    z1 = oracle_bottom(np, params["encoder"]["bottom"], x, z2)[0]
    expected = oracle_logits(np, params["decoder"]["items"], z1, z2)
    score = make_hierarchical_score_fn(MODEL)
    scores = jax.jit(score)(PARAMS, batch)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert make_hierarchical_score_fn(MODEL) is score


def test_factored_logits_multiply_out_to_the_logits():
    features, kernel, bias = map(np.asarray, MODEL.decode_factored(PARAMS, Z1, Z2))
    logits = features @ kernel + bias
    np.testing.assert_allclose(MODEL.decode(PARAMS, Z1, Z2), logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())


def test_parameters_start_as_those_of_the_authors():
    params = jax.jit(hvamp(900, hidden=100, latent_dim=80, num_pseudo_inputs=7).init)(jax.random.key(0))
    for layer, fan_in in (
        (params["encoder"]["top"]["InputLayer_0"], 900),
        (params["encoder"]["bottom"]["Linear_0"], 80),
        (params["decoder"]["items"]["OutputLayer_0"], 100),
    ):
        std = np.sqrt(2 / fan_in)
        np.testing.assert_allclose([layer["kernel"].mean(), layer["kernel"].std()], [0, std], atol=0.05 * std)
        np.testing.assert_allclose(np.abs(layer["bias"]).max(), fan_in**-0.5, rtol=0.1)
    assert params["prior"]["pseudo_inputs"].shape == (7, 900)
    chex.assert_tree_all_finite(params)


@pytest.mark.parametrize(
    "arguments",
    [{"hidden": 0}, {"latent_dim": 0}, {"gated_layers": 1}, {"num_pseudo_inputs": 0}, {"item_axis": "items"}],
)
def test_impossible_settings_are_refused(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(UserError, match=f"{name}.*{value}"):
        hvamp(I, **arguments)
