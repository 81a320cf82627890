import numpy as np
import pytest
from baseline_data import as_csr, random_rows

from piavae_jax import UserError
from piavae_jax.baselines import grals, mf
from piavae_jax.baselines.graph import cosine_graph

ROWS = random_rows(40, 12)
TRAIN = as_csr(ROWS)
SETTINGS = {"dim": 4, "regularization": 1.5, "graph_weight": 2.0, "neighbors": 3}


def graph_laplacian():
    graph = cosine_graph(TRAIN, 12, neighbors=3)
    weights = np.zeros((12, 12))
    weights[graph.neighbors.rows, graph.neighbors.items] = graph.weights
    return np.diag(weights.sum(axis=1)) - weights


def fit(**settings):
    params = grals(**{**SETTINGS, **settings}).fit(TRAIN, 12)
    return {name: np.asarray(value, np.float64) for name, value in params.items()}


def loss(params):
    users, items = ROWS @ params["encoder"], params["decoder"].T
    fit_error = ((ROWS - users @ items.T) ** 2).sum()
    return fit_error + 1.5 * ((users**2).sum() + (items**2).sum()) + 2.0 * np.trace(items.T @ graph_laplacian() @ items)


def test_the_loss_falls_with_every_iteration():
    losses = [loss(fit(iterations=iterations)) for iterations in range(1, 8)]
    assert (np.diff(losses) < 0).all()


def test_items_solve_their_equation_at_the_end():
    params = fit(iterations=300)
    users, items = ROWS @ params["encoder"], params["decoder"].T
    left = items @ (users.T @ users + 1.5 * np.eye(4)) + 2.0 * graph_laplacian() @ items
    np.testing.assert_allclose(left, ROWS.T @ users, atol=2e-3)


def test_without_the_graph_it_is_mf():
    ours = fit(graph_weight=0.0, iterations=4)
    theirs = mf(dim=4, regularization=1.5, iterations=4).fit(TRAIN, 12)
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=1e-3, atol=1e-4)


def test_a_heavier_graph_brings_neighbours_together():
    def roughness(graph_weight):
        items = fit(graph_weight=graph_weight, iterations=20)["decoder"].T
        return np.trace(items.T @ graph_laplacian() @ items) / (items**2).sum()

    values = [roughness(graph_weight) for graph_weight in (0.0, 1.0, 10.0)]
    assert values == sorted(values, reverse=True)


def test_the_same_seed_gives_the_same_bits():
    np.testing.assert_array_equal(fit(iterations=2)["decoder"], fit(iterations=2)["decoder"])


@pytest.mark.parametrize(
    "settings", [{"dim": 0}, {"iterations": 0}, {"neighbors": 0}, {"regularization": 0.0}, {"graph_weight": -1.0}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(UserError, match=f"{next(iter(settings))} must be"):
        grals(**settings)
