"""Recommendations from their definition: dense rows, NumPy, one full stable sort a user."""

import numpy as np


def affine(inputs, layer):
    return inputs @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


def multvae_mean(params, rows):
    """float64[U, D], of a Multi-VAE with one hidden layer."""
    rows = rows / np.sqrt(np.maximum(rows.sum(axis=1, keepdims=True), 1))
    hidden = np.tanh(affine(rows, params["encoder"]["InputLayer_0"]))
    return np.split(affine(hidden, params["encoder"]["Linear_0"]), 2, axis=1)[0]


def multvae_scores(params, rows):
    """float64[U, I]."""
    hidden = np.tanh(affine(multvae_mean(params, rows), params["decoder"]["Linear_0"]))
    return affine(hidden, params["decoder"]["Linear_1"])


def log_softmax(scores):
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def fused_scores(params, rows):
    members = np.mean([log_softmax(multvae_scores(member, rows)) for member in params.members], axis=0)
    return members + float(params.weight) * rows @ np.asarray(params.linear["weights"], np.float64)


def ranked(scores, k, allowed):
    """Item indices of one user, best first."""
    scores = np.where(allowed, scores, -np.inf)
    order = np.argsort(-scores, kind="stable")[:k]
    return order[scores[order] > -np.inf]
