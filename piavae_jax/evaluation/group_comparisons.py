"""Paired comparison of two systems in each group of users."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from piavae_jax.evaluation.groups import PAPER_GROUPS, UserGroup
from piavae_jax.evaluation.results import UserMetrics
from piavae_jax.evaluation.runs import align_users
from piavae_jax.evaluation.significance import RESAMPLES, Comparison, compare, holm


class GroupComparison(NamedTuple):
    """How a system differs from a baseline among the users of a group."""

    group: UserGroup
    comparison: Comparison


def compare_groups(
    system: tuple[str, UserMetrics],
    baseline: tuple[str, UserMetrics],
    groups: Sequence[UserGroup] = PAPER_GROUPS,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[GroupComparison]:
    """Compare two systems user by user in every group; `p_holm` is corrected over all groups and metrics.

    A user's number of interactions is that of `summarize_groups`, fold-in input and held-out items together. Groups of
    fewer than two users with held-out items are left out.

    Args:
      system: name and results.
      baseline: name and results on the same users, in any order.
      groups: ranges of history length.
      seed: of the bootstrap's resamples.
      resamples: bootstrap resamples.

    Raises:
      UserError: if the users differ, or the names are the same.
    """
    (name, metrics), (other, reference) = system, baseline
    metrics = align_users(metrics, reference)
    history = reference.num_input + reference.num_target
    rows = []
    for group in groups:
        members = group.members(history)
        if np.count_nonzero(members & (reference.num_target > 0)) >= 2:
            systems = {other: select_users(reference, members), name: select_users(metrics, members)}
            rows += [GroupComparison(group, row) for row in compare(systems, other, seed=seed, resamples=resamples)]
    corrected = holm(np.array([row.comparison.p_value for row in rows]))
    return [
        row._replace(comparison=row.comparison._replace(p_holm=float(p)))
        for row, p in zip(rows, corrected, strict=True)
    ]


def select_users(metrics: UserMetrics, members: np.ndarray) -> UserMetrics:
    """The results of some users: `members: bool[V]`."""
    values = {label: column[members] for label, column in metrics.values.items()}
    return UserMetrics(metrics.users.filter(members), metrics.num_input[members], metrics.num_target[members], values)
