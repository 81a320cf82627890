import jax
import jax.numpy as jnp
import numpy as np
import pytest
from baseline_data import as_csr, random_rows

from piavae_jax import UserError
from piavae_jax.baselines import ease


def fit(rows, regularization):
    return ease(regularization=regularization).fit(as_csr(rows), rows.shape[1])["weights"]


def test_two_items_by_hand():
    # 3 users have item 0, 2 have item 1, 1 has both: each is the other's regression, 1 / (3 + 1) and 1 / (2 + 1).
    weights = fit(np.array([[1, 0], [1, 0], [1, 1], [0, 1]]), 1.0)
    np.testing.assert_allclose(weights, [[0, 1 / 4], [1 / 3, 0]], rtol=1e-6)


def test_no_weight_off_the_diagonal_can_be_improved():
    rows = random_rows(40, 7)

    def loss(weights):
        return jnp.sum((rows - rows @ weights) ** 2) + 4.0 * jnp.sum(weights**2)

    gradient = jax.grad(loss)(jnp.asarray(fit(rows, 4.0), jnp.float32))
    np.testing.assert_allclose(np.where(np.eye(7) > 0, 0.0, gradient), 0.0, atol=1e-4)


def test_items_may_be_renumbered():
    rows, order = random_rows(40, 7), np.random.default_rng(1).permutation(7)
    np.testing.assert_allclose(fit(rows[:, order], 2.0), fit(rows, 2.0)[np.ix_(order, order)], atol=1e-6)


def test_more_regularization_means_smaller_weights():
    norms = [np.linalg.norm(fit(random_rows(40, 7), regularization)) for regularization in (1.0, 10.0, 100.0)]
    assert norms == sorted(norms, reverse=True)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_regularization_must_be_positive(value):
    with pytest.raises(UserError, match=r"regularization must be positive and finite, got .*; pass e.g. 500"):
        ease(regularization=value)
