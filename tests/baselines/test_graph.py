import jax.numpy as jnp
import numpy as np
import pytest
from baseline_data import as_csr, random_rows

from piavae_jax.baselines.graph import cosine_graph, laplacian


def dense(graph):
    weights = np.zeros((len(graph.neighbors.lengths),) * 2)
    weights[graph.neighbors.rows, graph.neighbors.items] = graph.weights
    return weights


def cosines(rows):
    norms = np.sqrt(np.maximum(rows.sum(axis=0), 1))
    return (rows.T @ rows) / np.outer(norms, norms) * (1 - np.eye(rows.shape[1]))


@pytest.mark.parametrize("num_items", [9, 1_100])  # 1,100 items are more than one block
def test_each_item_is_joined_with_the_most_similar_ones(num_items):
    rows = random_rows(30, num_items)
    expected = cosines(rows)
    chosen = (expected > 0) & (expected >= -np.sort(-expected, axis=1)[:, [2]] - 1e-6)
    graph = dense(cosine_graph(as_csr(rows), num_items, neighbors=3))
    np.testing.assert_array_equal(graph, graph.T)
    np.testing.assert_array_equal(np.diag(graph), 0.0)
    edges = graph > 0
    np.testing.assert_allclose(graph[edges], expected[edges], rtol=1e-6)
    # Of equally similar items any may be chosen: none that is left out is better than the third best of its row.
    third_best = -np.sort(-np.where(edges, expected, 0.0), axis=1)[:, 2]
    assert (np.where(edges, 0.0, expected) <= third_best[:, None] + 1e-6).all()
    assert not (edges & ~(chosen | chosen.T)).any()


def test_more_neighbours_than_items_join_all_that_have_a_user_in_common():
    rows = random_rows(30, 6)
    np.testing.assert_allclose(dense(cosine_graph(as_csr(rows), 6, neighbors=50)), cosines(rows), rtol=1e-6)


def test_the_laplacian_is_degrees_minus_weights():
    graph = cosine_graph(as_csr(random_rows(30, 9)), 9, neighbors=2)
    factors = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    weights = dense(graph)
    expected = (np.diag(weights.sum(axis=1)) - weights) @ factors
    np.testing.assert_allclose(laplacian(graph, jnp.asarray(factors)), expected, atol=1e-5)
    np.testing.assert_allclose(laplacian(graph, jnp.ones((9, 1))), 0.0, atol=1e-6)
