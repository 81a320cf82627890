"""Users with few, middling and many interactions."""

from typing import NamedTuple

import numpy as np

from piavae_jax.errors import UserError

NAMES = ("few", "middling", "many")
QUANTILES = (0.0, 0.5, 0.95)
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
