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
      The distinct users, by id; `num_input` and `num_target` are sums over the splits; a value is the mean over the
      splits in which the user has one, NaN where there is none.

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
    sums, means = pl.col(INPUT_COLUMN, TARGET_COLUMN).sum(), pl.col(labels).mean()
    return from_frame(rows.group_by(USER_COLUMN).agg(sums, means).sort(USER_COLUMN))
