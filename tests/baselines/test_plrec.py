import numpy as np
import pytest
from baseline_data import as_csr, random_rows

from piavae_jax import UserError
from piavae_jax.baselines import plrec

pytest.importorskip("sklearn")

ROWS = random_rows(60, 12)
D = 4


def fit(**settings):
    params = plrec(**{"dim": D, "regularization": 2.0, "degree_exponent": 0.3, **settings}).fit(as_csr(ROWS), 12)
    return np.asarray(params["encoder"], np.float64), np.asarray(params["decoder"], np.float64)


def test_weights_are_those_of_the_plain_formulas():
    scale = np.maximum(ROWS.sum(axis=0), 1) ** -0.3
    _, _, axes = np.linalg.svd(ROWS * scale)
    expected = scale[:, None] * axes[:D].T
    features = ROWS @ expected
    decoder = np.linalg.solve(features.T @ features + 2.0 * np.eye(D), features.T @ ROWS)
    ours = fit()
    np.testing.assert_allclose(ours[0] @ ours[1], expected @ decoder, atol=1e-4)  # whatever the signs of the axes


def test_without_scaling_or_regularization_rows_are_projected_on_the_principal_axes():
    encoder, decoder = fit(degree_exponent=0.0, regularization=1e-6)
    axes = np.linalg.svd(ROWS)[2][:D]
    np.testing.assert_allclose(encoder @ decoder, axes.T @ axes, atol=1e-4)


def test_the_same_seed_gives_the_same_bits():
    np.testing.assert_array_equal(fit(seed=3)[1], fit(seed=3)[1])


@pytest.mark.parametrize("settings", [{"dim": 0}, {"seed": -1}, {"regularization": 0.0}, {"degree_exponent": -0.5}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(UserError, match=f"{next(iter(settings))} must be"):
        plrec(**settings)


def test_without_scikit_learn_it_says_so(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="PLRec needs scikit-learn; install it with"):
        fit()


def test_there_are_no_more_axes_than_items():
    with pytest.raises(UserError, match="dim must be at most the 12 users or items of the data, got 13"):
        fit(dim=13)
