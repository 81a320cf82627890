"""Evaluation in NumPy, in the manner of the notebook that Liang et al. (2018) published: the reference to be beaten.

Dense rows, a dense product for each layer, and metrics that each rank for themselves. The metrics must agree with ours
on the same scores.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from piavae_jax.data.csr import CSR


def to_matrix(rows: CSR, num_items: int) -> sparse.csr_matrix:
    """The rows as a float32 matrix of zeros and ones."""
    values = np.ones(rows.nnz, np.float32)
    return sparse.csr_matrix((values, np.asarray(rows.indices), np.asarray(rows.indptr)), (rows.num_rows, num_items))


def multvae(params: Mapping[str, Any], shown: np.ndarray) -> np.ndarray:
    """float32[B, I], the forward pass of Multi-VAE with one hidden layer a side, from the parameters of ours."""
    encoder, decoder = params["encoder"], params["decoder"]
    normalized = shown / np.maximum(np.linalg.norm(shown, axis=1, keepdims=True), 1e-6)
    hidden = np.tanh(_affine(normalized, encoder["InputLayer_0"]))
    mean, _ = np.split(_affine(hidden, encoder["Linear_0"]), 2, axis=1)
    return _affine(np.tanh(_affine(mean, decoder["Linear_0"])), decoder["Linear_1"])


def _affine(inputs: np.ndarray, layer: Mapping[str, np.ndarray]) -> np.ndarray:
    product = inputs @ layer["kernel"]
    product += layer["bias"]
    return product


def evaluate(
    params: Mapping[str, Any], shown: sparse.csr_matrix, held_out: sparse.csr_matrix, *, batch_size: int
) -> dict[str, np.ndarray]:
    """float64[V] for each metric; NaN for a user without held-out items."""
    parts = []
    for start in range(0, shown.shape[0], batch_size):
        dense = shown[start : start + batch_size].toarray()
        parts.append(rank(multvae(params, dense), dense, held_out[start : start + batch_size]))
    return _join(parts)


def rank_all(
    scores: np.ndarray, shown: np.ndarray, held_out: sparse.csr_matrix, *, batch_size: int
) -> dict[str, np.ndarray]:
    """The same from given scores, float32[V, I], and dense rows."""
    starts = range(0, len(scores), batch_size)
    batches = [slice(start, start + batch_size) for start in starts]
    return _join([rank(scores[batch], shown[batch], held_out[batch]) for batch in batches])


def rank(scores: np.ndarray, shown: np.ndarray, held_out: sparse.csr_matrix) -> dict[str, np.ndarray]:
    """The metrics of one batch; the scores of seen items are overwritten."""
    scores[shown.nonzero()] = -np.inf
    return {
        "ndcg@100": ndcg(scores, held_out, 100),
        "recall@20": recall(scores, held_out, 20),
        "recall@50": recall(scores, held_out, 50),
    }


def _join(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {label: np.concatenate([part[label] for part in parts]) for label in parts[0]}


def ndcg(scores: np.ndarray, held_out: sparse.csr_matrix, k: int) -> np.ndarray:
    """float64[B], by partition, sort of the first k, and gains looked up in the held-out rows."""
    users = np.arange(len(scores))[:, None]
    best = np.argpartition(-scores, k, axis=1)[:, :k]
    ranked = best[users, np.argsort(-scores[users, best], axis=1)]
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gain = (held_out[users, ranked].toarray() * discounts).sum(axis=1)
    ideal = np.array([discounts[: min(count, k)].sum() for count in held_out.getnnz(axis=1)])
    with np.errstate(invalid="ignore"):  # 0 / 0 for a user without held-out items
        return gain / ideal


def recall(scores: np.ndarray, held_out: sparse.csr_matrix, k: int) -> np.ndarray:
    """float64[B], by partition and two boolean matrices."""
    users = np.arange(len(scores))[:, None]
    recommended = np.zeros(scores.shape, bool)
    recommended[users, np.argpartition(-scores, k, axis=1)[:, :k]] = True
    wanted = held_out.toarray() > 0
    found = np.logical_and(wanted, recommended).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return found / np.minimum(k, wanted.sum(axis=1))
