import jax
import jax.numpy as jnp
import numpy as np
import objective_oracle as oracle
import pytest
from batch_factory import dense_rows, sparse_batch

from piavae_jax import UserError, anchor_loss, gaussian_kl, masking, reparameterize
from piavae_jax.models import init_anchors, linear_autoencoder, make_score_fn, multidae, point_mass

I, D = 30, 5
ROWS = dense_rows([0, 1, 4, 30], I)
INPUTS = ROWS / np.maximum(np.sqrt(ROWS.sum(axis=1, keepdims=True)), 1.0)


def weights(layer):
    return np.asarray(layer["kernel"]), np.asarray(layer["bias"])


def test_multidae_is_the_published_network():
    model = multidae(I, hidden=(8, D))
    params = model.init(jax.random.key(0))
    first, second = (weights(params["encoder"][name]) for name in ("InputLayer_0", "Linear_0"))
    last = weights(params["decoder"])
    code = np.tanh(np.tanh(INPUTS @ first[0] + first[1]) @ second[0] + second[1])
    posterior = model.encode(params, masking.encoder_input(sparse_batch(ROWS)))
    np.testing.assert_allclose(posterior.mean, code, atol=1e-6)
    np.testing.assert_allclose(make_score_fn(model)(params, sparse_batch(ROWS)), code @ last[0] + last[1], atol=1e-6)
    assert (model.latent_dim, last[0].shape) == (D, (D, I))


def test_the_linear_body_is_two_affine_maps():
    model = linear_autoencoder(I, dim=D)
    params = model.init(jax.random.key(0))
    (kernel, bias), (out_kernel, out_bias) = weights(params["encoder"]["InputLayer_0"]), weights(params["decoder"])
    expected = (INPUTS @ kernel + bias) @ out_kernel + out_bias
    np.testing.assert_allclose(make_score_fn(model)(params, sparse_batch(ROWS)), expected, atol=1e-6)


def test_every_sample_of_a_point_mass_is_its_code():
    code = jax.random.normal(jax.random.key(0), (4, D))

    def total(code, key):
        z = reparameterize(point_mass(code), key=key)
        return jnp.sum(jnp.sin(z)), z

    for seed in range(3):
        gradient, z = jax.jit(jax.grad(total, has_aux=True))(code, jax.random.key(seed))
        np.testing.assert_array_equal(z, code)
        np.testing.assert_allclose(gradient, np.cos(code), rtol=1e-6)


def test_a_log_variance_of_minus_infinity_has_finite_gradients():
    def total(posterior, anchors):
        z = reparameterize(posterior, key=jax.random.key(0))
        return jnp.sum(z) + jnp.sum(anchor_loss(posterior, anchors, sparse_batch(ROWS)))

    anchors = init_anchors(I, D, key=jax.random.key(1))
    gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(point_mass(jnp.ones((4, D))), anchors)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    np.testing.assert_array_equal(gradients[0].logvar, 0.0)


def test_alignment_of_a_point_mass_is_alignment_at_its_code():
    code, anchors = jax.random.normal(jax.random.key(0), (4, D)), init_anchors(I, D, std=1.0, key=jax.random.key(1))
    value = jax.jit(lambda code: anchor_loss(point_mass(code), anchors, sparse_batch(ROWS)))(code)
    np.testing.assert_allclose(value, oracle.anchor_at(np.asarray(code), np.asarray(anchors), ROWS), rtol=1e-5)


def test_a_point_mass_diverges_from_any_gaussian():
    np.testing.assert_array_equal(gaussian_kl(point_mass(jnp.zeros((2, D)))), np.inf)


@pytest.mark.parametrize(
    ("build", "arguments"),
    [
        (multidae, {"hidden": ()}),
        (multidae, {"hidden": (8, 0)}),
        (multidae, {"precision": "half"}),
        (linear_autoencoder, {"dim": 0}),
        (linear_autoencoder, {"precision": "half"}),
    ],
)
def test_impossible_settings_are_refused(build, arguments):
    with pytest.raises(UserError, match=next(iter(arguments))):
        build(I, **arguments)
