"""Lemma 2.4: how much farther apart the encoder puts two users than their rows are."""

from typing import NamedTuple

import numpy as np

from piavae_jax.analysis.wasserstein import w2
from piavae_jax.types import Posterior


class LipschitzRatios(NamedTuple):
    """A pair's latent distance over its input distance; the largest over all inputs would be L_phi."""

    by_l1: np.ndarray
    """float64[P], `W2 / ||x_u - x_v||_1`, as the lemma concludes."""
    by_l2: np.ndarray
    """float64[P], `W2 / ||x_u - x_v||_2`, as the encoder's own Lipschitz constant is mostly meant."""


def lipschitz_ratios(first: Posterior, second: Posterior, distance: np.ndarray) -> LipschitzRatios:
    """Ratios of latent to input distance (Lemma 2.4), with W2 for W1: the lemma's own proof bounds W2.

    On binary rows `||.||_2 = sqrt(||.||_1) <= ||.||_1`, so a constant in the second norm is one in the first.

    Args:
      first: P posteriors, `[P, D]`.
      second: those of the other users.
      distance: int[P], `||x_u - x_v||_1`; pairs of equal rows have no ratio and give nan.

    Returns:
      The ratios. Their maximum is a lower bound of L_phi, never more.
    """
    latent = np.asarray(w2(first, second), np.float64)
    apart = np.where(distance > 0, distance, np.nan)
    return LipschitzRatios(latent / apart, latent / np.sqrt(apart))
