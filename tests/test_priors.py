import chex
import jax
import jax.numpy as jnp
import numpy as np
import objective_oracle as oracle
import pytest
from jax.test_util import check_grads
from scipy import special, stats

from piavae_jax import UserError, priors, sampling
from piavae_jax.priors import gaussian_kl
from piavae_jax.types import Posterior

B, D, P = 6, 5, 4


def draw(*shape, seed=0, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=shape), jnp.float32)


Z, Z_SMALL = draw(B, D, seed=1), draw(2, 3, seed=2)
GAUSSIANS = Posterior(draw(B, D, seed=3), draw(B, D, seed=4))
COMPONENTS = Posterior(draw(P, D, seed=5), draw(P, D, seed=6))
LOG_WEIGHTS = draw(P, seed=7)


def scipy_log_density(z, mean, logvar):
    """[..., D] -> [...], in float64."""
    z, mean, logvar = (np.asarray(value, np.float64) for value in (z, mean, logvar))
    return stats.norm.logpdf(z, mean, np.exp(0.5 * logvar)).sum(axis=-1)


def scipy_mixture(z, components, log_weights=None):
    densities = scipy_log_density(np.asarray(z)[:, None], np.asarray(components.mean), np.asarray(components.logvar))
    weights = np.ones(densities.shape[1]) if log_weights is None else np.exp(np.asarray(log_weights, np.float64))
    return special.logsumexp(densities, axis=1, b=weights / weights.sum())


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


def test_densities_of_hand_made_points():
    # In two dimensions the standard normal has density 1 / (2 pi) at its mean.
    origin = jnp.zeros((1, 2))
    np.testing.assert_allclose(priors.standard_normal_log_density(origin), [-np.log(2 * np.pi)], rtol=1e-6)
    # Variance 4 in one dimension, one standard deviation from the mean.
    value = priors.gaussian_log_density(jnp.array([[3.0]]), Posterior(jnp.array([[1.0]]), jnp.log(jnp.array([[4.0]]))))
    np.testing.assert_allclose(value, [-0.5 * np.log(2 * np.pi * 4) - 0.5], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 20.0])
def test_densities_equal_scipy(scale):
    gaussians = Posterior(scale * GAUSSIANS.mean, scale * GAUSSIANS.logvar)
    value = jax.jit(priors.gaussian_log_density)(scale * Z, gaussians)
    np.testing.assert_allclose(value, scipy_log_density(scale * Z, *gaussians), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        priors.standard_normal_log_density(scale * Z),
        scipy_log_density(scale * Z, np.zeros((B, D)), np.zeros((B, D))),
        rtol=1e-5,
    )


def test_sampled_kl_is_the_closed_form_on_average_and_so_is_its_gradient():
    posterior = Posterior(jnp.array([[0.5, -1.0]]), jnp.array([[0.3, -0.7]]))

    def estimate(posterior, key):
        z = sampling.reparameterize(posterior, key=key)
        return priors.sampled_kl(posterior, z, priors.standard_normal_log_density(z))[0]

    keys = jax.random.split(jax.random.key(0), 20_000)
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(estimate), in_axes=(None, 0)))(posterior, keys)
    closed, closed_gradient = jax.value_and_grad(lambda posterior: gaussian_kl(posterior)[0])(posterior)

    def close(samples, expected):
        error = 4 * samples.std(axis=0) / np.sqrt(len(keys)) + 1e-6
        assert np.all(np.abs(samples.mean(axis=0) - expected) < error)

    close(values, closed)
    jax.tree.map(close, gradients, closed_gradient)


def test_sampled_kl_from_the_posterior_itself_is_zero():
    z = sampling.reparameterize(GAUSSIANS, key=jax.random.key(1))
    np.testing.assert_array_equal(priors.sampled_kl(GAUSSIANS, z, priors.gaussian_log_density(z, GAUSSIANS)), 0.0)


@pytest.mark.parametrize("scale", [1.0, 50.0])
@pytest.mark.parametrize("weights", [(3 / 20, 3 / 4, 1 / 10), (0.0, 0.0, 1.0)])
def test_composite_prior_equals_scipy(scale, weights):
    # At 50 the wide component alone is in reach; a sum of densities would underflow.
    z = scale * Z
    mean, logvar = (np.asarray(part, np.float64) for part in GAUSSIANS)
    scales = (np.ones((B, D)), np.exp(0.5 * logvar), np.full((B, D), np.exp(5.0)))
    means = (np.zeros((B, D)), mean, np.zeros((B, D)))
    densities = np.stack(
        [stats.norm.logpdf(np.asarray(z, np.float64), *component) for component in zip(means, scales, strict=True)]
    )
    expected = special.logsumexp(densities, axis=0, b=np.asarray(weights)[:, None, None]).sum(axis=1)
    value = jax.jit(priors.composite_log_density, static_argnames="weights")(z, GAUSSIANS, weights=weights)
    np.testing.assert_allclose(value, expected, rtol=2e-5)


def test_composite_prior_integrates_to_one():
    z = jnp.linspace(-2000.0, 2000.0, 400_001)[:, None]
    previous = Posterior(jnp.full_like(z, 1.5), jnp.full_like(z, -0.5))
    density = np.exp(np.asarray(priors.composite_log_density(z, previous), np.float64))
    np.testing.assert_allclose(np.trapezoid(density, dx=0.01), 1.0, rtol=1e-4)


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.5, 0.4, 0.2), (1.5, -0.5, 0.0)])
def test_weights_that_are_no_probabilities_are_refused(weights):
    with pytest.raises(UserError, match="weights must be three numbers >= 0 that add up to 1, got"):
        priors.composite_log_density(Z, GAUSSIANS, weights=weights)


@pytest.mark.parametrize("log_weights", [None, LOG_WEIGHTS])
def test_mixture_equals_scipy(log_weights):
    value = jax.jit(priors.mixture_log_density)(Z, COMPONENTS, log_weights)
    np.testing.assert_allclose(value, scipy_mixture(Z, COMPONENTS, log_weights), rtol=1e-5)


@pytest.mark.parametrize(
    ("offset", "spread", "logvar"),
    [
        (1e4, 1.0, 0.0),  # far from the origin, where multiplied-out squares cancel
        (0.0, 1e3, 0.0),  # so far apart that all densities but one underflow
        (0.0, 10.0, -12.0),  # needles, thousands of standard deviations apart
        (0.0, 1.0, 20.0),  # hardly any slope
    ],
)
def test_mixture_at_extremes_equals_scipy(offset, spread, logvar):
    components = Posterior(offset + spread * COMPONENTS.mean, logvar + 0.1 * COMPONENTS.logvar)
    near = components.mean[jnp.arange(B) % P] + jnp.exp(0.5 * logvar) * Z
    value, pullback = jax.vjp(jax.jit(priors.mixture_log_density), near, components)
    np.testing.assert_allclose(value, scipy_mixture(near, components), rtol=1e-5, atol=1e-4)
    chex.assert_tree_all_finite(pullback(jnp.ones(B)))


def test_a_mixture_of_one_is_its_component():
    one = Posterior(COMPONENTS.mean[:1], COMPONENTS.logvar[:1])
    alone = priors.gaussian_log_density(Z, Posterior(*(jnp.tile(part, (B, 1)) for part in one)))
    np.testing.assert_allclose(priors.mixture_log_density(Z, one), alone, rtol=1e-5)


def test_mixture_does_not_depend_on_the_order_of_components_nor_on_a_shift():
    density = jax.jit(priors.mixture_log_density)
    value = density(Z, COMPONENTS, LOG_WEIGHTS)
    order = jnp.array([2, 0, 3, 1])
    turned = density(Z, Posterior(*(part[order] for part in COMPONENTS)), LOG_WEIGHTS[order])
    np.testing.assert_allclose(turned, value, rtol=1e-6)
    shifted = Posterior(COMPONENTS.mean + 8.0, COMPONENTS.logvar)
    np.testing.assert_allclose(density(Z + 8.0, shifted, LOG_WEIGHTS + 3.0), value, rtol=1e-5)


def test_no_mixture_holds_every_user_beside_every_component():
    """Neither direction has an array of B x P x D."""
    text = jax.jit(jax.grad(lambda z: priors.mixture_log_density(z, COMPONENTS).sum())).lower(Z).as_text()
    assert f"tensor<{B}x{P}x" in text
    assert f"tensor<{B}x{P}x{D}x" not in text


@pytest.mark.parametrize(
    "density",
    [
        lambda z, mean, logvar: priors.gaussian_log_density(z, Posterior(mean, logvar)),
        lambda z, mean, logvar: priors.composite_log_density(z, Posterior(mean, logvar)),
        lambda z, mean, logvar: priors.mixture_log_density(z, Posterior(mean, logvar), mean[:, 0]),
        lambda z, mean, logvar: priors.sampled_kl(Posterior(mean, logvar), z, priors.standard_normal_log_density(z)),
    ],
    ids=["gaussian", "composite", "mixture", "sampled_kl"],
)
def test_gradients_of_densities_are_the_numerical_ones(density):
    arguments = Z_SMALL, 0.5 * Z_SMALL[::-1], 0.3 * Z_SMALL
    check_grads(jax.jit(density), arguments, order=1, modes=["rev"], atol=1e-2, rtol=1e-2, eps=1e-2)


def test_jit_changes_no_density():
    def densities(z):
        return priors.composite_log_density(z, GAUSSIANS), priors.mixture_log_density(z, COMPONENTS, LOG_WEIGHTS)

    chex.assert_trees_all_close(jax.jit(densities)(Z), densities(Z), rtol=1e-6)
