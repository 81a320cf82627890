import jax
import jax.numpy as jnp
import numpy as np
import objective_oracle as oracle
import pytest
from jax.test_util import check_grads

from piavae_jax.priors import gaussian_kl
from piavae_jax.types import Posterior


def test_standard_normal_has_no_divergence():
    np.testing.assert_array_equal(gaussian_kl(Posterior(jnp.zeros((3, 4)), jnp.zeros((3, 4)))), 0.0)


def test_hand_value():
    # One dimension, mu = 1, sigma^2 = e: (e + 1 - 1 - 1) / 2.
    value = gaussian_kl(Posterior(jnp.array([[1.0]]), jnp.array([[1.0]])))
    np.testing.assert_allclose(value, [(np.e - 1) / 2], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 10.0])
def test_equals_the_oracle(scale):
    generator = np.random.default_rng(0)
    mean, logvar = (scale * generator.normal(size=(2, 6, 5))).astype(np.float32)
    value = jax.jit(gaussian_kl)(Posterior(jnp.asarray(mean), jnp.asarray(logvar)))
    expected = oracle.kl(mean.astype(np.float64), logvar.astype(np.float64))
    np.testing.assert_allclose(value, expected, rtol=1e-3 if scale < 1e-3 else 1e-5)
    assert np.all(np.asarray(value) >= 0)


def test_equals_a_monte_carlo_estimate():
    posterior = Posterior(jnp.array([[0.5, -1.0]]), jnp.array([[0.3, -0.7]]))
    z = posterior.mean + jnp.exp(0.5 * posterior.logvar) * jax.random.normal(jax.random.key(0), (200_000, 2))
    log_q = jax.scipy.stats.norm.logpdf(z, posterior.mean, jnp.exp(0.5 * posterior.logvar)).sum(axis=1)
    estimates = log_q - jax.scipy.stats.norm.logpdf(z).sum(axis=1)
    error = estimates.std() / np.sqrt(len(z))
    assert abs(estimates.mean() - gaussian_kl(posterior)[0]) < 4 * error


def test_gradient_is_the_numerical_one():
    mean, logvar = jnp.array([[0.5, -1.0]]), jnp.array([[0.3, -0.7]])
    check_grads(lambda m, v: gaussian_kl(Posterior(m, v)).sum(), (mean, logvar), order=1, atol=1e-2, rtol=1e-2)
