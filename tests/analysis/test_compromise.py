"""Theorem 2.5 against a numerical minimum over logits, and its integral where it is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from posterior_factory import random_posterior
from scipy.optimize import minimize
from scipy.special import logsumexp

from piavae_jax import analysis
from piavae_jax.types import Posterior

X_U, X_V = np.array([1, 1, 1, 0, 0, 1.0]), np.array([0, 1, 1, 1, 0, 0.0])
COUNTS = {"first_only": 2.0, "second_only": 1.0, "shared": 2.0}


def nll(x, logits):
    return x.sum() * logsumexp(logits) - x @ logits


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.83])
def test_gap_is_what_the_best_common_logits_lose(alpha):
    common = minimize(lambda logits: alpha * nll(X_U, logits) + (1 - alpha) * nll(X_V, logits), np.zeros(6), tol=1e-12)
    # Each alone reaches n log n: its own items, evenly.
    apart = alpha * 4 * np.log(4) + (1 - alpha) * 3 * np.log(3)
    gap = analysis.compromise_gap(jnp.float32(alpha), **COUNTS)
    np.testing.assert_allclose(gap, common.fun - apart, atol=2e-5)


def test_no_gap_without_overlap_or_difference():
    for alpha in (0.0, 1.0):
        np.testing.assert_allclose(analysis.compromise_gap(jnp.float32(alpha), **COUNTS), 0, atol=1e-6)
    same = analysis.compromise_gap(jnp.float32(0.3), first_only=0.0, second_only=0.0, shared=5.0)
    np.testing.assert_allclose(same, 0, atol=1e-6)


def pair(shift, counts):
    one = random_posterior(1, 3)
    other = Posterior(one.mean + shift, one.logvar)
    arrays = {name: jnp.array([count]) for name, count in counts.items()}
    return analysis.compromise(one, other, **arrays, samples=64, key=jax.random.key(0))


def test_equal_posteriors_pay_in_full_and_distant_ones_nothing():
    together, apart = pair(0.0, COUNTS), pair(50.0, COUNTS)
    np.testing.assert_allclose(together.gap, together.most, rtol=1e-5)
    np.testing.assert_allclose(together.overlap, 1, rtol=1e-6)
    np.testing.assert_allclose(apart.gap, 0, atol=1e-5)
    np.testing.assert_allclose(apart.overlap, 0, atol=1e-6)
    assert together.most[0] > 0.5


def test_the_integral_is_that_of_a_grid():
    one, other = (Posterior(jnp.array([[at]]), jnp.array([[0.0]])) for at in (-0.5, 0.8))
    arrays = {name: jnp.array([count]) for name, count in COUNTS.items()}
    found = analysis.compromise(one, other, **arrays, samples=4000, key=jax.random.key(1))
    z = np.linspace(-9, 9, 4001)
    q_u, q_v = (np.exp(-0.5 * (z - at) ** 2) / np.sqrt(2 * np.pi) for at in (-0.5, 0.8))
    gap = analysis.compromise_gap(jnp.asarray(q_u / (q_u + q_v), jnp.float32), **COUNTS)
    np.testing.assert_allclose(found.gap, np.trapezoid((q_u + q_v) * np.asarray(gap), z), rtol=0.02)
    np.testing.assert_allclose(found.overlap, np.trapezoid(2 * q_u * q_v / (q_u + q_v), z), rtol=0.02)
