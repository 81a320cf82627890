"""Eq. 7 on posteriors whose information is known; active units and collapse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from posterior_factory import random_posterior
from scipy.stats import norm

from piavae_jax import analysis, priors
from piavae_jax.types import Posterior

KEY = jax.random.key(0)


def test_aggregated_density_is_that_of_the_mixture():
    posterior, z = random_posterior(6, 3), np.random.default_rng(5).standard_normal((4, 3)).astype(np.float32)
    densities = norm(np.asarray(posterior.mean)[None], np.exp(0.5 * np.asarray(posterior.logvar))[None]).pdf(z[:, None])
    expected = np.log(densities.prod(axis=-1).mean(axis=1))
    np.testing.assert_allclose(analysis.aggregated_log_density(jnp.asarray(z), posterior), expected, atol=1e-4)


def test_far_posteriors_tell_users_apart_and_equal_ones_do_not():
    apart = Posterior(1000.0 * jnp.eye(8), jnp.zeros((8, 8)))
    found = analysis.kl_decomposition(apart, key=KEY)
    np.testing.assert_allclose(found.mutual_information.value, np.log(8), atol=1e-3)
    np.testing.assert_allclose(found.ceiling, np.log(8))
    equal = Posterior(jnp.ones((8, 3)), jnp.full((8, 3), -1.0))
    found = analysis.kl_decomposition(equal, key=KEY)
    np.testing.assert_allclose(found.mutual_information.value, 0, atol=1e-5)
    np.testing.assert_allclose(found.marginal_kl.value, found.mean_kl.value, atol=4 * found.marginal_kl.standard_error)


def test_two_overlapping_users_have_the_information_of_a_grid():
    means = (-0.7, 0.9)
    posterior = Posterior(jnp.array(means)[:, None], jnp.zeros((2, 1)))
    found = analysis.kl_decomposition(posterior, samples=20_000, key=KEY)
    z = np.linspace(-9, 9, 4001)
    each = [norm(mean).pdf(z) for mean in means]
    mixture = 0.5 * (each[0] + each[1])
    information = 0.5 * sum(np.trapezoid(q * np.log(q / mixture), z) for q in each)
    marginal = np.trapezoid(mixture * np.log(mixture / norm.pdf(z)), z)
    np.testing.assert_allclose(found.mutual_information.value, information, atol=0.01)
    np.testing.assert_allclose(found.marginal_kl.value, marginal, atol=0.02)


def test_the_parts_add_up():
    posterior = random_posterior(700, 4)  # more than one block
    found = analysis.kl_decomposition(posterior, samples=30, key=KEY)
    np.testing.assert_allclose(found.mean_kl.value, np.mean(priors.gaussian_kl(posterior)), rtol=1e-5)
    total = found.mutual_information.value + found.marginal_kl.value
    np.testing.assert_allclose(total, found.mean_kl.value, atol=0.05)
    assert 0 < found.mutual_information.standard_error < 0.1


def test_repeats_of_a_user_are_no_further_users():
    once = random_posterior(40, 4)
    twice = Posterior(*(jnp.concatenate([part, part]) for part in once))
    found, alone = (
        analysis.kl_decomposition(posterior, samples=400, repeats=repeats, key=KEY)
        for posterior, repeats in ((twice, 2), (once, 1))
    )
    np.testing.assert_allclose(found.mean_kl, alone.mean_kl, rtol=1e-5)
    np.testing.assert_allclose(found.marginal_kl.standard_error, alone.marginal_kl.standard_error, rtol=0.1)
    assert found.ceiling == np.log(80)


def test_units_are_active_where_their_means_vary():
    mean = np.zeros((50, 4), np.float32)
    mean[:, 1], mean[:, 2] = np.linspace(-1, 1, 50), np.linspace(-0.1, 0.1, 50)
    posterior = Posterior(jnp.asarray(mean), jnp.zeros((50, 4)))
    activity = analysis.unit_activity(posterior)
    np.testing.assert_allclose(activity.variance, mean.var(axis=0), atol=1e-6)
    np.testing.assert_allclose(activity.kl.sum(), np.mean(priors.gaussian_kl(posterior)), rtol=1e-5)
    assert analysis.active_units(posterior) == 1
    assert analysis.active_units(posterior, threshold=0.001) == 2


@pytest.mark.parametrize(("scale", "collapsed"), [(0.01, True), (1.0, False)])
def test_warns_of_collapse(scale, collapsed):
    posterior = Posterior(scale * random_posterior(50, 20).mean, jnp.zeros((50, 20)))
    warning = analysis.collapse_warning(posterior)
    assert (warning is not None) == collapsed
    if warning:
        assert "0 of 20 units" in warning
