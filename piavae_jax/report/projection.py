"""A plane in which users who are close in latent space stay close."""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

_PERPLEXITY = 30.0
_MIN_FOR_TSNE = 12  # below, t-SNE's neighbourhoods are everyone


class Projection(NamedTuple):
    """Points of a plane."""

    points: np.ndarray
    """float64[V, 2]."""
    method: str
    """How they were made, for a caption."""


def project(vectors: np.ndarray, *, seed: int = 0) -> Projection:
    """Project float32[V, D] by t-SNE (van der Maaten, Hinton, JMLR 2008), or by PCA where there are too few for it.

    2,000 users of 200 dimensions take 11 s on one core.
    """
    count = len(vectors)
    if count < _MIN_FOR_TSNE or np.ptp(vectors, axis=0).max() == 0.0:
        # The axes may be fewer than two, and constant ones explain nothing.
        with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            axes = PCA(n_components=min(2, *vectors.shape), random_state=seed).fit_transform(vectors)
        return Projection(np.pad(axes.astype(np.float64), ((0, 0), (0, 2 - axes.shape[1]))), "PCA")
    perplexity = min(_PERPLEXITY, (count - 1) / 3)
    # One thread: several are slower for so few points, and wait for each other where cores are busy.
    with threadpool_limits(1):
        points = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(vectors)
    return Projection(points.astype(np.float64), f"t-SNE, perplexity {perplexity:.0f}, seed {seed}")
