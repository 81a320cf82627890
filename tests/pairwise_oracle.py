"""WARP and LambdaRank pair by pair in float64 NumPy, from the equations; shares no code with the library."""

import numpy as np


def warp(logits: np.ndarray, rows: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Losses [B] and their gradients [B, I]."""
    logits = np.asarray(logits, np.float64)
    losses, gradients = np.zeros(len(rows)), np.zeros(rows.shape)
    for user, (scores, row) in enumerate(zip(logits, rows, strict=True)):
        for i in np.flatnonzero(row):
            violators = [j for j in np.flatnonzero(row == 0) if scores[j] > scores[i] - margin]
            harmonic = sum(1 / rank for rank in range(1, len(violators) + 1))
            for j in violators:
                losses[user] += harmonic / len(violators) * (margin - scores[i] + scores[j])
                gradients[user, i] -= harmonic / len(violators)
                gradients[user, j] += harmonic / len(violators)
    return losses, gradients


def lambdarank(logits: np.ndarray, rows: np.ndarray, k: int | None, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Losses [B] and their gradients [B, I]; |delta nDCG| by exchanging two items and measuring again."""
    logits = np.asarray(logits, np.float64)
    losses, gradients = np.zeros(len(rows)), np.zeros(rows.shape)
    k = rows.shape[1] if k is None else k
    for user, (scores, row) in enumerate(zip(logits, rows, strict=True)):
        order = np.argsort(-scores, kind="stable")
        for i in np.flatnonzero(row):
            for j in np.flatnonzero(row == 0):
                exchanged = row.copy()
                exchanged[[i, j]] = row[[j, i]]
                weight = abs(ndcg(exchanged[order], k) - ndcg(row[order], k))
                losses[user] += weight * np.logaddexp(0, -sigma * (scores[i] - scores[j]))
                slope = weight * sigma / (1 + np.exp(sigma * (scores[i] - scores[j])))
                gradients[user, i] -= slope
                gradients[user, j] += slope
    return losses, gradients


def ndcg(relevant: np.ndarray, k: int) -> float:
    """Of relevance in ranked order."""
    discounts = 1 / np.log2(np.arange(len(relevant)) + 2)
    ideal = np.sort(relevant)[::-1]
    return (relevant[:k] * discounts[:k]).sum() / (ideal[:k] * discounts[:k]).sum()
