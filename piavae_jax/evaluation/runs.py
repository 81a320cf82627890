"""Several runs on the same users: brought into one order, and averaged user by user."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import polars as pl

from piavae_jax.errors import UserError
from piavae_jax.evaluation.results import UserMetrics

Runs: TypeAlias = UserMetrics | Sequence[UserMetrics]
"""A system's results: one run, or several that differ in their seeds."""


def average_runs(runs: Runs) -> UserMetrics:
    """Average each user's values over runs on the same split, in the user order of the first.

    Raises:
      UserError: if there is no run, or users, their interactions or the metrics differ.
    """
    if isinstance(runs, UserMetrics):
        return runs
    if not runs:
        raise UserError("a system needs at least one run, got none: pass its per-user results")
    first, *others = runs
    for run in others:
        if run.values.keys() != first.values.keys():
            raise UserError(
                f"runs must have the same metrics, got {', '.join(run.values)} beside {', '.join(first.values)}: "
                "evaluate all with one list"
            )
    aligned = [first, *(align_users(run, first) for run in others)]
    values = {label: np.mean([run[label] for run in aligned], axis=0) for label in first.values}
    return UserMetrics(first.users, first.num_input, first.num_target, values)


def align_users(metrics: UserMetrics, reference: UserMetrics) -> UserMetrics:
    """Put users into the reference's order.

    Raises:
      UserError: if the users, or the numbers of their interactions, are not the reference's.
    """
    positions = _positions(metrics.users, reference.users)
    aligned = UserMetrics(
        users=reference.users,
        num_input=metrics.num_input[positions],
        num_target=metrics.num_target[positions],
        values={label: values[positions] for label, values in metrics.values.items()},
    )
    changed = (aligned.num_input != reference.num_input) | (aligned.num_target != reference.num_target)
    if changed.any():
        raise UserError(
            f"systems must be evaluated on the same split, got other numbers of interactions for "
            f"{np.count_nonzero(changed)} of {len(changed)} users: evaluate both on one prepared data set"
        )
    return aligned


def _positions(users: pl.Series, reference: pl.Series) -> np.ndarray:
    """int64[V], where each user of the reference is in `users`."""
    if users.dtype != reference.dtype:
        raise UserError(f"user ids must have one type, got {users.dtype} and {reference.dtype}: cast one of them")
    numbered = pl.DataFrame({"user": users}).with_row_index("position")
    joined = pl.DataFrame({"user": reference}).join(numbered, on="user", how="left", maintain_order="left")
    missing = joined["position"].null_count()
    extra = len(users) - (len(reference) - missing)
    if missing or extra:
        raise UserError(
            f"systems must be evaluated on the same users, got {missing} of {len(reference)} missing and {extra} "
            "others: evaluate both on one split of one prepared data set"
        )
    return joined["position"].cast(pl.Int64).to_numpy()
