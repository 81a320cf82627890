import itertools

import numpy as np
import pytest
from baseline_data import as_csr, random_rows

from piavae_jax import UserError
from piavae_jax.baselines import ease, edlae


def dropout_regression(rows, dropout, regularization):
    """The weights that minimise the loss on dropped entries, averaged over every way to drop some of them.

    Column i minimises `E[(1 - kept_i) ||x_i - (X * kept) w||^2]`, users dropping independently of each other.
    """
    num_items = rows.shape[1]
    weights = np.zeros((num_items, num_items))
    for item in range(num_items):
        matrix, target = np.zeros((num_items, num_items)), np.zeros(num_items)
        for kept in itertools.product([0, 1], repeat=num_items):
            chance = np.prod(np.where(kept, 1 - dropout, dropout))
            if not kept[item]:
                visible = rows * np.array(kept)
                matrix += chance * visible.T @ visible
                target += chance * visible.T @ rows[:, item]
        # L2 on the weights that the full row is multiplied with, (1 - p) w, in units of one dropped entry.
        penalty = dropout * (1 - dropout) ** 2 * regularization
        weights[:, item] = np.linalg.solve(matrix + penalty * np.eye(num_items), target)
    return (1 - dropout) * weights


@pytest.mark.parametrize("dropout", [0.25, 0.6])
def test_weights_minimise_the_mean_loss_over_all_masks(dropout):
    rows = random_rows(25, 6, density=0.5)
    weights = edlae(dropout=dropout, regularization=1.5).fit(as_csr(rows), 6)["weights"]
    np.testing.assert_allclose(weights, dropout_regression(rows, dropout, 1.5), rtol=1e-4, atol=1e-5)


def test_without_dropout_it_is_ease():
    rows = as_csr(random_rows(25, 6))
    ours, theirs = (model.fit(rows, 6)["weights"] for model in (edlae(dropout=0.0), ease(regularization=300.0)))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dropout": 1.0}, "dropout must be at least 0 and less than 1, got 1.0"),
        ({"dropout": -0.1}, "dropout must be"),
        ({"regularization": -1.0}, "regularization must be at least 0 and finite, got -1.0"),
        ({"dropout": 0.0, "regularization": 0.0}, "must not both be 0"),
        ({"activity_exponent": -0.5}, "activity_exponent must be at least 0 and finite, got -0.5"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        edlae(**settings)


@pytest.mark.parametrize("exponent", [0.5, 1])
def test_weighted_users_count_as_if_they_were_there_more_or_less_often(exponent):
    rows = random_rows(25, 6, density=0.5)
    rows = rows[rows.sum(axis=1) > 0]
    lengths = rows.sum(axis=1)
    weights = lengths ** -float(exponent) / np.mean(lengths ** -float(exponent))
    gram = (rows * weights[:, None]).T @ rows
    inverse = np.linalg.inv(gram + np.diag(0.4 / 0.6 * np.diag(gram) + 2.0))
    expected = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(expected, 0.0)
    model = edlae(dropout=0.4, regularization=2.0, activity_exponent=exponent)
    np.testing.assert_allclose(model.fit(as_csr(rows), 6)["weights"], expected, rtol=1e-4, atol=1e-5)


def test_models_share_a_summary_only_where_it_is_the_same():
    first, same, other = (edlae(regularization=value, activity_exponent=a) for value, a in ((1, 0.5), (2, 0.5), (1, 0)))
    assert first.summarize is same.summarize
    assert first.summarize is not other.summarize
