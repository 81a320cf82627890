"""W2 against the general formula for Gaussians, W1's bounds against one dimension, where it is known."""

import sys

import jax
import numpy as np
import pytest
from posterior_factory import random_posterior
from scipy.integrate import quad
from scipy.linalg import sqrtm
from scipy.stats import norm

from piavae_jax import analysis
from piavae_jax.errors import UserError
from piavae_jax.types import Posterior

FIRST, SECOND = random_posterior(5, 4, seed=1), random_posterior(5, 4, seed=2)


def bures(first, second, row):
    """W2 of two Gaussians with any covariances (Givens & Shortt 1984)."""
    means = np.float64(first.mean[row]), np.float64(second.mean[row])
    one, two = (np.diag(np.exp(np.float64(part.logvar[row]))) for part in (first, second))
    root = sqrtm(one)
    covariances = np.trace(one + two - 2 * np.real(sqrtm(root @ two @ root)))
    return np.sqrt(np.sum((means[0] - means[1]) ** 2) + covariances)


def exact_w1_in_one_dimension(first, second, row):
    """The integral of the distance between the quantile functions."""
    quantiles = [
        norm(float(part.mean[row, 0]), np.exp(0.5 * float(part.logvar[row, 0]))).ppf for part in (first, second)
    ]
    return quad(lambda p: abs(quantiles[0](p) - quantiles[1](p)), 0, 1, limit=200)[0]


def test_w2_is_the_bures_distance():
    expected = [bures(FIRST, SECOND, row) for row in range(5)]
    np.testing.assert_allclose(analysis.w2(FIRST, SECOND), expected, rtol=1e-5)
    np.testing.assert_array_equal(analysis.w2(FIRST, FIRST), 0)


def test_points_have_the_same_distances():
    points = np.asarray(analysis.w2_points(FIRST)) - np.asarray(analysis.w2_points(SECOND))
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), analysis.w2(FIRST, SECOND), rtol=1e-5)


def test_bounds_of_w1_are_in_order_and_meet_for_equal_variances():
    lower, upper = analysis.w1_bounds(FIRST, SECOND)
    coupled = analysis.coupled_w1(FIRST, SECOND, samples=2000, key=jax.random.key(0))
    assert np.all(lower < coupled)
    assert np.all(coupled < upper)
    shifted = Posterior(SECOND.mean, FIRST.logvar)
    lower, upper = analysis.w1_bounds(FIRST, shifted)
    np.testing.assert_allclose(lower, upper, rtol=1e-6)


def test_the_coupling_is_the_best_one_in_one_dimension():
    first, second = random_posterior(5, 1, seed=1), random_posterior(5, 1, seed=2)
    coupled = analysis.coupled_w1(first, second, samples=20_000, key=jax.random.key(0))
    expected = [exact_w1_in_one_dimension(first, second, row) for row in range(5)]
    np.testing.assert_allclose(coupled, expected, atol=0.03)


def test_sampled_w1_finds_w1_in_one_dimension():
    pytest.importorskip("ot")
    first, second = random_posterior(3, 1, seed=1), random_posterior(3, 1, seed=2)
    found = analysis.sampled_w1(first, second, samples=400, key=jax.random.key(3))
    expected = [exact_w1_in_one_dimension(first, second, row) for row in range(3)]
    np.testing.assert_allclose(found, expected, atol=0.15)


def test_sampled_w1_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(UserError, match=r"piavae-jax\[transport\]"):
        analysis.sampled_w1(FIRST, SECOND, samples=4, key=jax.random.key(0))
