"""Users with few, middling and many interactions, and how they lie in latent space."""

from typing import NamedTuple

import jax
import numpy as np

from piavae_jax.analysis.neighbours import nearest_neighbours
from piavae_jax.errors import UserError

NAMES = ("few", "middling", "many")
QUANTILES = (0.0, 0.5, 0.95)
NEIGHBOURS = 20
_LEAST = 5
"""Users of a cohort."""


class Cohort(NamedTuple):
    """Users who are about equally active."""

    name: str
    users: np.ndarray
    """int64[C], rows."""
    low: int
    """Fewest interactions."""
    high: int
    """Most interactions."""

    @property
    def label(self) -> str:
        """Such as "5-7"."""
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


def choose_cohorts(lengths: np.ndarray, *, size: int) -> list[Cohort]:
    """Take users around the lowest, the 50 % and the 95 % quantile of activity.

    The paper takes those with exactly 5, 50 and 350 interactions of ML-20M, which other data need not have.

    Args:
      lengths: int[U], interactions of each user.
      size: users of a cohort; a quarter of all where there are not enough.

    Raises:
      UserError: there are too few users.
    """
    size = min(size, len(lengths) // 4)
    if size < _LEAST:
        raise UserError(
            f"cohorts need at least {4 * _LEAST} training users, got {len(lengths)}: pass runs on more data"
        )
    order = np.argsort(lengths, kind="stable")
    return [_take(name, order, lengths, quantile, size) for name, quantile in zip(NAMES, QUANTILES, strict=True)]


def _take(name: str, order: np.ndarray, lengths: np.ndarray, quantile: float, size: int) -> Cohort:
    start = round(quantile * len(order) - size / 2)
    users = order[min(max(start, 0), len(order) - size) :][:size]
    return Cohort(name, users, int(lengths[users].min()), int(lengths[users].max()))


class Geometry(NamedTuple):
    """How the cohorts lie in the latent space of one run, all distances W2."""

    silhouette: float
    """Mean over users of (b - a) / max(a, b), a the mean distance to the own cohort and b that to the nearest other
    one: 1 for cohorts far apart, 0 for entangled ones (Rousseeuw, 1987)."""
    neighbours: float
    """Share of a user's 20 nearest users that are of the own cohort, mean over users; chance is 1/3."""
    few_middling: float
    """Between the cohorts' barycentres."""
    middling_many: float
    few_many: float
    within: float
    """From a user to the own cohort's barycentre, mean over users: the scale of the space."""


def measure_cohorts(points: jax.Array, cohort_of: np.ndarray) -> Geometry:
    """Measure how three cohorts lie.

    The barycentre of diagonal Gaussians under W2 has the mean of their means and the mean of their standard deviations,
    which in `w2_points` is the mean of the points.

    Args:
      points: float32[B, 2D], `w2_points` of users.
      cohort_of: int[B], 0 few, 1 middling, 2 many.
    """
    from sklearn.metrics import silhouette_score  # an extra: the study needs it, others do not

    nearest = nearest_neighbours(points, k=min(NEIGHBOURS, len(points) - 1))
    places = np.asarray(points, np.float64)
    centres = np.stack([places[cohort_of == number].mean(axis=0) for number in range(3)])

    def between(one: int, other: int) -> float:
        return float(np.linalg.norm(centres[one] - centres[other]))

    return Geometry(
        silhouette=float(silhouette_score(places, cohort_of)),
        neighbours=float(np.mean(cohort_of[nearest] == cohort_of[:, None])),
        few_middling=between(0, 1),
        middling_many=between(1, 2),
        few_many=between(0, 2),
        within=float(np.linalg.norm(places - centres[cohort_of], axis=-1).mean()),
    )
