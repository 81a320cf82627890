"""Theorem 2.3: gradients against finite differences and the parameters' own, the bound on every pair."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batch_factory import dense_rows
from jax.flatten_util import ravel_pytree

from piavae_jax import analysis, losses
from piavae_jax.data.csr import from_pairs
from piavae_jax.errors import UserError
from piavae_jax.models import multvae, recvae

I, D, USERS, SAMPLES, ETA = 13, 3, 6, 5, 1e-3
DENSE = dense_rows([4, 2, 6, 3, 5, 1], I)
ROWS = from_pairs(*np.nonzero(DENSE), num_rows=USERS)
PAIRS = np.array([(0, 1), (2, 0), (5, 4), (3, 3)])


@pytest.fixture(scope="module", params=["multvae", "recvae"])
def model(request):
    if request.param == "multvae":
        return multvae(I, hidden=(I,), latent_dim=D)  # a hidden layer as wide as the items: only names tell them apart
    return recvae(I, hidden=7, latent_dim=D)


@pytest.fixture(scope="module")
def params(model):
    drawn = model.init(jax.random.key(0))
    return jax.tree.map(lambda leaf: 2.0 * leaf, drawn)


@pytest.fixture(scope="module")
def codes():
    return jax.random.normal(jax.random.key(1), (USERS, D))


def flat_gradients(model, params, rows, z):
    def gradient(row, code):
        def loss(decoder):
            return losses.multinomial_nll(model.decode({"decoder": decoder}, code[None, :]), row[None, :])[0]

        return ravel_pytree(jax.grad(loss)(params["decoder"]))[0]

    return np.stack([gradient(*pair) for pair in zip(jnp.asarray(rows), z, strict=True)]).astype(np.float64)


def test_gram_is_that_of_the_gradients(model, params, codes):
    gradients = flat_gradients(model, params, DENSE, codes)
    gram = analysis.gradient_gram(model, params, jnp.asarray(DENSE), codes)
    np.testing.assert_allclose(gram, gradients @ gradients.T, rtol=1e-4, atol=1e-3)


@pytest.fixture(scope="module")
def measured(model, params):
    posterior = analysis.encode_rows(model, params, ROWS)
    key = jax.random.key(2)
    found = analysis.transfer(model, params, ROWS, posterior, PAIRS, learning_rate=ETA, samples=SAMPLES, key=key)
    noise = [np.asarray(jax.random.normal(k, (2, SAMPLES, D))) for k in jax.random.split(key, len(PAIRS))]
    return found, posterior, noise


def test_terms_are_those_of_explicit_gradients(model, params, measured):
    found, posterior, noise = measured
    for number, (u, v) in enumerate(PAIRS):
        z_u, z_v = (posterior.mean[w] + np.exp(0.5 * posterior.logvar[w]) * noise[number][0] for w in (u, v))
        own, moved, other = (
            flat_gradients(model, params, np.repeat(DENSE[[w]], SAMPLES, axis=0), jnp.asarray(z))
            for w, z in ((u, z_u), (u, z_v), (v, z_v))
        )

        def inner(one, two):
            """Over all products of two different samples."""
            return (one.sum(axis=0) @ two.sum(axis=0) - np.sum(one * two)) / (SAMPLES * (SAMPLES - 1))

        def norm(one):
            return np.sqrt(max(inner(one, one), 0.0))

        close = {"rtol": 2e-3, "atol": 2e-2}
        np.testing.assert_allclose(found.inner[number], inner(own, other), **close)
        np.testing.assert_allclose(found.gradient_norm[number], norm(own), **close)
        np.testing.assert_allclose(found.other_norm[number], norm(other), **close)
        np.testing.assert_allclose(found.content_mismatch[number], norm(moved - other), **close)
        np.testing.assert_allclose(found.latent_mismatch[number], norm(own - moved), **close)
        if u != v:
            ratios = np.linalg.norm(own - moved, axis=1) / np.linalg.norm(z_u - z_v, axis=1)
            np.testing.assert_allclose(found.lipschitz[number], ratios.max(), rtol=1e-2)
        else:
            np.testing.assert_allclose(found.content_mismatch[number], 0, atol=0.02)


def test_change_is_that_of_the_step(model, params, measured):
    found, posterior, noise = measured
    for number, (u, v) in enumerate(PAIRS):
        z_u, z_v = (
            jnp.asarray(posterior.mean[w] + np.exp(0.5 * posterior.logvar[w]) * noise[number][draw])
            for draw, w in enumerate((u, v))
        )
        step = flat_gradients(model, params, np.repeat(DENSE[[v]], SAMPLES, axis=0), z_v).mean(axis=0)
        flat, unravel = ravel_pytree(params["decoder"])
        after = {"decoder": unravel(flat - ETA * jnp.asarray(step, jnp.float32))}
        row = jnp.asarray(DENSE[u])
        before = analysis.expected_loss(model, params, row, z_u)
        np.testing.assert_allclose(found.loss[number], before, rtol=1e-5)
        expected = analysis.expected_loss(model, after, row, z_u) - before
        # The difference of two losses in float32: some units in their last place, more or less by processor.
        np.testing.assert_allclose(found.change[number], expected, atol=2e-6 * abs(float(before)))


def test_expected_loss_has_the_gradient_of_finite_differences(model, params, codes):
    row = jnp.asarray(DENSE[0])
    flat, unravel = ravel_pytree(params["decoder"])
    direction = jax.random.normal(jax.random.key(4), flat.shape)
    gradient = ravel_pytree(
        jax.grad(lambda d: analysis.expected_loss(model, {"decoder": d}, row, codes))(params["decoder"])
    )[0]
    step = 1e-2

    def loss(at):
        return float(analysis.expected_loss(model, {"decoder": unravel(flat + at * direction)}, row, codes))

    np.testing.assert_allclose((loss(step) - loss(-step)) / (2 * step), gradient @ direction, rtol=2e-3)


def test_local_constant_is_the_norm_of_the_jacobian(model, params, codes):
    rows = jnp.asarray(DENSE[:2])

    def gradient(row, code):
        def loss(decoder):
            return losses.multinomial_nll(model.decode({"decoder": decoder}, code[None, :]), row[None, :])[0]

        return ravel_pytree(jax.grad(loss)(params["decoder"]))[0]

    found = analysis.local_lipschitz(model, params, rows, codes[:2], iterations=60, key=jax.random.key(3))
    step = 1e-2
    for row, code, norm in zip(rows, codes[:2], found, strict=True):
        columns = [
            (gradient(row, code + step * axis) - gradient(row, code - step * axis)) / (2 * step) for axis in jnp.eye(D)
        ]
        np.testing.assert_allclose(norm, np.linalg.norm(np.stack(columns), 2), rtol=1e-2)


def test_bound_by_hand():
    penalty = analysis.transfer_penalty(np.array([2.0, 0.5]), np.array([1.0, 3.0]), lipschitz=4.0)
    np.testing.assert_allclose(penalty, [9, 5])
    bound = analysis.first_order_bound(np.array([10.0, 3.0]), penalty, learning_rate=0.1)
    np.testing.assert_allclose(bound, [-1.0, 0.6])
    radius = analysis.sharing_radius(np.array([10.0, 2.0]), np.array([1.0, 3.0]), lipschitz=4.0)
    np.testing.assert_allclose(radius, [9 / 4, 0])


def test_the_theorem_holds_for_what_it_is_exact_for(model, params):
    """The empirical measures of the samples: -<g_u, g_v> is at most -||g_u|| (||g_u|| - L W1 - Delta)."""
    generator = np.random.default_rng(0)
    for u, v in PAIRS[:3]:
        z_u, z_v = (jnp.asarray(generator.standard_normal((SAMPLES, D)), jnp.float32) for _ in range(2))
        own, moved, other = (
            flat_gradients(model, params, np.repeat(DENSE[[w]], SAMPLES, axis=0), z)
            for w, z in ((u, z_u), (u, z_v), (v, z_v))
        )
        apart = np.linalg.norm(np.asarray(z_u) - np.asarray(z_v), axis=1)
        lipschitz = (np.linalg.norm(own - moved, axis=1) / apart).max()
        g_u, g_v = own.mean(axis=0), other.mean(axis=0)
        mismatch = np.linalg.norm(moved.mean(axis=0) - g_v)
        penalty = analysis.transfer_penalty(apart.mean(), mismatch, lipschitz=lipschitz)
        bound = analysis.first_order_bound(np.linalg.norm(g_u), penalty, learning_rate=1.0)
        assert -g_u @ g_v <= bound + 1e-6


def test_one_sample_is_not_enough(model, params):
    posterior = analysis.encode_rows(model, params, ROWS)
    with pytest.raises(UserError, match="samples must be at least 2, got 1"):
        analysis.transfer(model, params, ROWS, posterior, PAIRS, learning_rate=ETA, samples=1, key=jax.random.key(0))
