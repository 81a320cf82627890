"""Several splits of one data set as one evaluation of more users: for data too small for one split to tell."""

from collections.abc import Sequence

import polars as pl

from piavae_jax.errors import UserError
from piavae_jax.evaluation.result_files import INPUT_COLUMN, TARGET_COLUMN, USER_COLUMN, from_frame, to_frame
from piavae_jax.evaluation.results import UserMetrics


def pool_splits(splits: Sequence[UserMetrics]) -> UserMetrics:
    """One system's test users on several splits, each of which it was trained on anew.

    A user who is held out in more than one split is one user still: values are averaged, so that users stay the units
    of every comparison. Pool each system over the same splits before `compare`.

    Args:
      splits: V_1, V_2, ... users, with the same metrics.

    Returns:
      The distinct users, by id; `num_input` and `num_target` are those of the first split in which the user has
      held-out items, so that groups by history are those of one split; a value is the mean over the splits in which the
      user has one, NaN where there is none.

    Raises:
      UserError: there is no split, or metrics or types of user ids differ.
    """
    if not splits:
        raise UserError("splits must be at least one, got none: pass the per-user results on each")
    labels, dtype = list(splits[0].values), splits[0].users.dtype
    for split in splits:
        if list(split.values) != labels or split.users.dtype != dtype:
            raise UserError(
                f"splits must have the same metrics and type of user ids, got {', '.join(split.values)} of "
                f"{split.users.dtype} and {', '.join(labels)} of {dtype}: evaluate all alike"
            )
    rows = pl.concat([to_frame(split) for split in splits])
    has_targets = pl.col(TARGET_COLUMN) > 0
    counts = [  # where there is no such split, those of the first one
        pl.coalesce(pl.col(name).filter(has_targets).first(), pl.col(name).first()).alias(name)
        for name in (INPUT_COLUMN, TARGET_COLUMN)
    ]
    return from_frame(rows.group_by(USER_COLUMN).agg(*counts, pl.col(labels).mean()).sort(USER_COLUMN))
