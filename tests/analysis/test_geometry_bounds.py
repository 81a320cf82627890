"""Lemma 2.4 and Eq. 4-6: ratios by hand, bounds on posteriors of every kind."""

import jax
import jax.numpy as jnp
import numpy as np
from posterior_factory import random_posterior

from piavae_jax import analysis, priors
from piavae_jax.types import Posterior


def test_ratios_by_hand():
    first, second = (Posterior(jnp.full((3, 4), at), jnp.zeros((3, 4))) for at in (0.0, 3.0))  # W2 = 6
    ratios = analysis.lipschitz_ratios(first, second, np.array([4, 9, 0]))
    np.testing.assert_allclose(ratios.by_l1, [1.5, 6 / 9, np.nan])
    np.testing.assert_allclose(ratios.by_l2, [3, 2, np.nan])


def test_a_linear_encoder_has_its_constant():
    # mu = 2 x and a constant variance: W2 is 2 ||x_u - x_v||_2.
    rows = np.random.default_rng(0).integers(0, 2, (20, 6)).astype(np.float32)
    posterior = Posterior(jnp.asarray(2 * rows), jnp.full((20, 6), -1.0))
    first, second = analysis.take(posterior, np.arange(19)), analysis.take(posterior, np.arange(1, 20))
    distance = np.abs(rows[:-1] - rows[1:]).sum(axis=1)
    ratios = analysis.lipschitz_ratios(first, second, distance)
    np.testing.assert_allclose(ratios.by_l2[distance > 0], 2, rtol=1e-5)
    assert np.nanmax(ratios.by_l1) <= 2


def test_transport_bound_holds_and_is_tight_for_opposite_means():
    for seed, scale in enumerate((0.01, 1.0, 30.0)):
        first, second = random_posterior(200, 5, seed=seed, scale=scale), random_posterior(200, 5, seed=9, scale=scale)
        bound = analysis.transport_bound(priors.gaussian_kl(first), priors.gaussian_kl(second))
        assert np.all(analysis.w2(first, second) <= bound * (1 + 1e-6))
    # N(m, I) and N(-m, I): KL = m^2 / 2 each, W1 = 2 |m|.
    one = Posterior(jnp.full((1, 1), 3.0), jnp.zeros((1, 1)))
    kl = priors.gaussian_kl(one)
    np.testing.assert_allclose(analysis.transport_bound(kl, kl), 6.0, rtol=1e-6)
    np.testing.assert_allclose(analysis.transport_bound(kl, kl, constant=4.0), 12.0, rtol=1e-6)


def test_mean_bound_holds_over_all_pairs():
    posterior = random_posterior(40, 5)
    first, second = np.divmod(np.arange(1600), 40)
    mean = np.mean(analysis.w2(analysis.take(posterior, first), analysis.take(posterior, second)))
    kl = priors.gaussian_kl(posterior)
    bound = analysis.mean_transport_bound(kl)
    assert mean <= bound
    np.testing.assert_allclose(bound, 2 * np.sqrt(2 * np.mean(kl)), rtol=1e-6)
    assert np.mean(analysis.transport_bound(kl[first], kl[second])) <= bound  # Jensen


def test_neighbours_are_the_nearest_others():
    points = np.asarray(random_posterior(30, 4).mean)
    found = analysis.nearest_neighbours(jnp.asarray(points), k=5)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(found, np.argsort(distances, axis=1)[:, :5])


def test_neighbours_of_many_blocks(monkeypatch):
    points = random_posterior(30, 4).mean
    whole = analysis.nearest_neighbours(points, k=3)
    monkeypatch.setattr("piavae_jax.analysis.neighbours._BLOCK", 7)
    np.testing.assert_array_equal(analysis.nearest_neighbours(points, k=3), whole)


def test_overlap_counts_common_neighbours_in_any_order():
    first, second = np.array([[1, 2, 3], [0, 2, 3]]), np.array([[3, 9, 1], [5, 6, 7]])
    np.testing.assert_allclose(analysis.neighbour_overlap(first, second), [2 / 3, 0])
    np.testing.assert_allclose(analysis.neighbour_overlap(first, first[:, ::-1]), [1, 1])


def test_blind_neighbours_overlap_as_chance_says():
    first, second = (
        analysis.nearest_neighbours(jax.random.normal(jax.random.key(seed), (301, 3)), k=30) for seed in (0, 1)
    )
    np.testing.assert_allclose(analysis.neighbour_overlap(first, second).mean(), 30 / 300, atol=0.02)
