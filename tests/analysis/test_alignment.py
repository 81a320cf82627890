"""Propositions 3.1 and 3.2: the identity against sums over items, fitted anchors, moments over masks, curvature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batch_factory import dense_rows, sparse_batch
from posterior_factory import random_posterior

from piavae_jax import analysis, losses
from piavae_jax.models import multvae

DENSE = dense_rows([4, 2, 6, 1, 7], 9)
BATCH = sparse_batch(DENSE, padding=3)
ANCHORS = jax.random.normal(jax.random.key(0), (9, 3))


def test_terms_add_up_to_the_mean_over_items():
    posterior = random_posterior(5, 3)
    terms = analysis.alignment_terms(posterior, ANCHORS, BATCH)
    mean, variance, anchors = np.float64(posterior.mean), np.exp(np.float64(posterior.logvar)), np.float64(ANCHORS)
    for user, row in enumerate(DENSE):
        items = anchors[row > 0]
        direct = np.mean(np.sum((mean[user] - items) ** 2, axis=1)) + variance[user].sum()  # Eq. 9, its mean over z
        np.testing.assert_allclose(sum(float(term[user]) for term in terms), direct, rtol=1e-5)
        np.testing.assert_allclose(terms.drift[user], np.sum((mean[user] - items.mean(axis=0)) ** 2), rtol=1e-4)
    np.testing.assert_allclose(sum(terms), losses.anchor_loss(posterior, ANCHORS, BATCH), rtol=1e-5)


def test_fitted_anchors_are_the_minimum():
    posterior = random_posterior(5, 3)
    fitted = analysis.fitted_anchors(posterior.mean, BATCH, num_items=9)

    def loss(anchors):
        return jnp.sum(losses.anchor_loss(posterior, anchors, BATCH))

    held = DENSE.any(axis=0)
    np.testing.assert_allclose(jax.grad(loss)(fitted), 0, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(fitted)[~held], 0)
    assert loss(fitted) < loss(ANCHORS)


def test_moments_over_masks():
    means = np.random.default_rng(0).standard_normal((6, 4, 3)).astype(np.float32)
    centroids = np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)
    found = analysis.mask_statistics(jnp.asarray(means), jnp.asarray(centroids))
    for user in range(4):
        covariance = np.cov(means[:, user].T)
        np.testing.assert_allclose(found.variance[user], np.trace(covariance), rtol=1e-5)
        np.testing.assert_allclose(found.largest[user], np.linalg.eigvalsh(covariance)[-1], rtol=1e-4)
        drift = np.mean(np.sum((means[:, user] - centroids[user]) ** 2, axis=1))
        np.testing.assert_allclose(found.drift[user], drift, rtol=1e-5)


def test_contraction_of_a_quadratic_objective():
    """Eq. 28 and 29 where the proposition's assumptions hold exactly: mu = M a + (1 - M) ebar."""
    generator = np.random.default_rng(2)
    basis = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    hessian, weight = basis @ np.diag([0.5, 2.0, 7.0]) @ basis.T, 0.9
    targets = generator.standard_normal((50, 1, 3)).astype(np.float32)
    centroid = generator.standard_normal((1, 3)).astype(np.float32)
    shrink = np.linalg.solve(hessian + 2 * weight * np.eye(3), hessian)
    aligned = (targets @ shrink.T + centroid @ (np.eye(3) - shrink).T).astype(np.float32)
    before, after = (analysis.mask_statistics(jnp.asarray(m), jnp.asarray(centroid)) for m in (targets, aligned))
    tau = float(analysis.contraction_factor(jnp.float32(7.0), weight))
    np.testing.assert_allclose(tau, 7 / 8.8, rtol=1e-6)
    assert after.variance[0] <= tau**2 * before.variance[0]
    assert after.largest[0] <= tau**2 * before.largest[0]
    assert after.drift[0] <= tau * before.drift[0]


@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_curvature_is_that_of_finite_differences(beta):
    model = multvae(9, hidden=(5,), latent_dim=3)
    params = jax.tree.map(lambda leaf: 2.0 * leaf, model.init(jax.random.key(1)))
    posterior, key = random_posterior(2, 3), jax.random.key(2)
    found = analysis.elbo_curvature(
        model, params, jnp.asarray(DENSE[:2]), posterior, beta=jnp.full(2, beta), samples=4, key=key
    )
    noise = jax.random.normal(key, (4, 3))
    for user in range(2):

        @jax.jit
        def slope(at, user=user):
            def objective(mean):
                z = mean[None, :] + jnp.exp(0.5 * posterior.logvar[user])[None, :] * noise
                return analysis.expected_loss(model, params, jnp.asarray(DENSE[user]), z) + 0.5 * beta * jnp.sum(
                    mean**2
                )

            return jax.grad(objective)(at)

        at, step = posterior.mean[user], 1e-2
        hessian = np.stack([(slope(at + step * axis) - slope(at - step * axis)) / (2 * step) for axis in jnp.eye(3)])
        eigenvalues = np.linalg.eigvalsh(0.5 * (hessian + hessian.T))
        np.testing.assert_allclose(found.smallest[user], eigenvalues[0], atol=0.02)
        np.testing.assert_allclose(found.largest[user], eigenvalues[-1], atol=0.02)
