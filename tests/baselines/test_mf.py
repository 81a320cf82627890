import numpy as np
import pytest
from baseline_data import as_csr, random_rows
from batch_factory import sparse_batch

from piavae_jax import UserError
from piavae_jax.baselines import mf

ROWS = random_rows(40, 12)
D, LAMBDA = 4, 1.5


def fit(**settings):
    params = mf(**{"dim": D, "regularization": LAMBDA, **settings}).fit(as_csr(ROWS), 12)
    return {name: np.asarray(value, np.float64) for name, value in params.items()}


def loss(params):
    users, items = ROWS @ params["encoder"], params["decoder"].T
    return ((ROWS - users @ items.T) ** 2).sum() + LAMBDA * ((users**2).sum() + (items**2).sum())


def test_the_loss_falls_with_every_iteration():
    losses = [loss(fit(iterations=iterations)) for iterations in range(1, 8)]
    assert (np.diff(losses) < 0).all()


def test_the_minimum_lowers_every_singular_value():
    left, values, right = np.linalg.svd(ROWS, full_matrices=False)
    expected = (left[:, :D] * (values[:D] - LAMBDA)) @ right[:D]
    params = fit(iterations=300)
    np.testing.assert_allclose(ROWS @ params["encoder"] @ params["decoder"], expected, atol=1e-3)
    np.testing.assert_allclose(loss(params), (values**2).sum() - ((values[:D] - LAMBDA) ** 2).sum(), rtol=1e-4)


def test_a_user_is_folded_in_by_a_ridge_regression_on_the_items():
    params, held_out = fit(iterations=3), random_rows(5, 12, seed=9)
    items = params["decoder"].T
    expected = np.linalg.solve(items.T @ items + LAMBDA * np.eye(D), items.T @ held_out.T).T @ items.T
    scores = mf().score({name: value.astype(np.float32) for name, value in params.items()}, sparse_batch(held_out))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_bits():
    first, second, other = (fit(iterations=2, seed=seed)["decoder"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("settings", [{"dim": 0}, {"iterations": 0}, {"seed": -1}, {"regularization": 0.0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(UserError, match=f"{next(iter(settings))} must be"):
        mf(**settings)
