"""Results by how much history a user has."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from piavae_jax.errors import UserError
from piavae_jax.evaluation.results import MetricSummary, UserMetrics, summarize


class UserGroup(NamedTuple):
    """Users whose number of interactions lies in a range."""

    low: int
    """Fewest interactions."""
    high: int | None
    """Most interactions; None for no limit."""

    @property
    def label(self) -> str:
        """Such as "5-10" or "over 100"."""
        return f"over {self.low - 1}" if self.high is None else f"{self.low}-{self.high}"

    def members(self, history: np.ndarray) -> np.ndarray:
        """bool[V], which of V users with `history: int[V]` interactions are in the group."""
        return (history >= self.low) & (history <= (np.inf if self.high is None else self.high))


class GroupSummary(NamedTuple):
    """The results of one group."""

    group: UserGroup
    users: int
    """Users in the group, with and without held-out items."""
    metrics: dict[str, MetricSummary]
    """By label, such as "ndcg@100"."""


def groups_from(lows: Sequence[int]) -> tuple[UserGroup, ...]:
    """Cut the numbers of interactions into ranges: from each value to the next less one, the last without limit.

    Args:
      lows: fewest interactions of each group, increasing: `(5, 11, 51, 101)` gives 5-10, 11-50, 51-100, over 100.

    Raises:
      UserError: if there is none, one is negative, or they do not increase.
    """
    if not lows or lows[0] < 0 or any(low >= following for low, following in pairwise(lows)):
        raise UserError(f"group edges must be increasing and not negative, got {tuple(lows)}: pass e.g. 5, 11, 51, 101")
    closed = (UserGroup(low, following - 1) for low, following in pairwise(lows))
    return (*closed, UserGroup(lows[-1], None))


PAPER_GROUPS = groups_from((5, 11, 51, 101))
"""Those of the paper's Table 3."""


def summarize_groups(metrics: UserMetrics, groups: Sequence[UserGroup] = PAPER_GROUPS) -> list[GroupSummary]:
    """Mean and standard error of every metric in every group (the paper's Table 3).

    A user's number of interactions is the whole history that the split holds of them: fold-in input and held-out items
    together. Users outside every group, such as those below the first edge, are in none of the summaries.
    """
    history = metrics.num_input + metrics.num_target
    return [_summarize_group(metrics.values, group, group.members(history)) for group in groups]


def _summarize_group(values: Mapping[str, np.ndarray], group: UserGroup, members: np.ndarray) -> GroupSummary:
    summaries = {label: summarize(column[members]) for label, column in values.items()}
    return GroupSummary(group, int(np.count_nonzero(members)), summaries)
