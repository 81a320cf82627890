"""The objective of the paper in float64 NumPy, row by row from the equations; shares no code with the library."""

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def nll(logits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.array([-(row * log_softmax(row_logits)).sum() for row_logits, row in zip(logits, rows, strict=True)])


def kl(mean: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    return 0.5 * (np.exp(logvar) + mean**2 - 1 - logvar).sum(axis=1)


def kl_between(mean: np.ndarray, logvar: np.ndarray, other_mean: np.ndarray, other_logvar: np.ndarray) -> np.ndarray:
    """KL(N(mean, e^logvar) || N(other_mean, e^other_logvar)) of diagonal Gaussians."""
    ratio = np.exp(logvar - other_logvar)
    return 0.5 * (ratio + (mean - other_mean) ** 2 / np.exp(other_logvar) - 1 + other_logvar - logvar).sum(axis=1)


def anchor_at(z: np.ndarray, anchors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Eq. 9 at one z a user."""
    values = []
    for point, row in zip(z, rows, strict=True):
        positives = np.flatnonzero(row)
        distances = [((point - anchors[item]) ** 2).sum() for item in positives]
        values.append(np.mean(distances) if distances else 0.0)
    return np.array(values)


def anchor(mean: np.ndarray, logvar: np.ndarray, anchors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Eq. 9 in expectation: E||z - e||^2 = ||mu - e||^2 + tr Sigma, averaged over positives."""
    spread = np.exp(logvar).sum(axis=1) * (rows.sum(axis=1) > 0)
    return anchor_at(mean, anchors, rows) + spread


def encoder_input(rows: np.ndarray, kept: np.ndarray, keep_prob: float) -> np.ndarray:
    norms = np.maximum(np.sqrt((rows**2).sum(axis=1, keepdims=True)), 1.0)
    return rows * kept / (keep_prob * norms)
