"""A graph of items that users have together."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # scipy.sparse loads at its first use

from piavae_jax import sparse
from piavae_jax.baselines.rows import as_batch, gram_blocks
from piavae_jax.data.csr import CSR, item_counts
from piavae_jax.types import SparseBatch


class ItemGraph(NamedTuple):
    """A symmetric graph without loops, of E weighted edges in both directions."""

    neighbors: SparseBatch
    """I rows of items."""
    weights: jax.Array
    """float32[E], of the neighbours in their order."""

    @property
    def degrees(self) -> jax.Array:
        """float32[I], the weights of each item's edges added up."""
        return sparse.row_sum(jnp.asarray(self.weights), self.neighbors)


def laplacian(graph: ItemGraph, factors: jax.Array) -> jax.Array:
    """The graph's Laplacian times `factors: [I, D]`: of each item, what its neighbours' differ from its own by."""
    around = sparse.weighted_row_sum(factors, graph.weights, graph.neighbors)
    return graph.degrees[:, None] * factors - around


def cosine_graph(rows: CSR, num_items: int, *, neighbors: int) -> ItemGraph:
    """Join every item with those whose users are most like its own.

    Args:
      rows: of the training users.
      num_items: I.
      neighbors: most similar items that each item chooses; an edge is there if either end chose it, and weighs the
        cosine of the two items' columns.
    """
    lengths = np.sqrt(np.maximum(item_counts(rows, num_items), 1)).astype(np.float32)
    chosen = scipy.sparse.vstack(list(_most_similar(rows, num_items, lengths, neighbors)), format="csr")
    graph = chosen.maximum(chosen.T).tocsr()
    graph.eliminate_zeros()
    return ItemGraph(as_batch(graph), graph.data)


def _most_similar(rows: CSR, num_items: int, lengths: np.ndarray, count: int) -> Iterator["scipy.sparse.csr_array"]:
    """float32[rows, I] blocks of cosines, all but the greatest of each row left out."""
    for block, common in gram_blocks(rows, num_items):
        cosines = common.toarray() / (lengths[block, None] * lengths[None, :])
        own = np.arange(len(cosines))
        cosines[own, block.start + own] = 0.0
        if count < num_items:
            left_out = np.argpartition(-cosines, count, axis=1)[:, count:]
            np.put_along_axis(cosines, left_out, 0.0, axis=1)
        yield scipy.sparse.csr_array(cosines)
