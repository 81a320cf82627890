"""How a search goes, as a command line says it."""

from typing import NamedTuple

from piavae_jax.errors import UserError
from piavae_jax.tuning.spaces import Space, grid_points

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("halving", "median", "none")
KEPT = ("best", "all")
_TRIALS = 40


class SearchOptions(NamedTuple):
    """How to search."""

    trials: int | None = None
    """Trials in all; None runs 40, or the whole grid."""
    sampler: str = "tpe"
    """`tpe` (tree-structured Parzen estimators), `random` or `grid` (every combination of choices)."""
    pruner: str = "halving"
    """`halving`, `median` or `none`; see `methods.make_pruner`."""
    seed: int = 0
    """Of what is drawn; the trials themselves have that of their config."""
    keep: str = "best"
    """`best` keeps the checkpoint of the best trial alone, `all` keeps all."""


def count_trials(options: SearchOptions, space: Space) -> int:
    """How many trials there are to be.

    Raises:
      UserError: an option breaks its rule, or a grid is asked for and the space has none.
    """
    for name, known in {"sampler": SAMPLERS, "pruner": PRUNERS, "keep": KEPT}.items():
        value = getattr(options, name)
        if value not in known:
            raise UserError(f"--{name} must be one of {', '.join(known)}, got {value!r}; choose one of them")
    for name, value, least in (("trials", options.trials, 1), ("seed", options.seed, 0)):
        if value is not None and value < least:
            raise UserError(f"--{name} must be at least {least}, got {value}; leave it out for the usual one")
    if options.sampler != "grid":
        return options.trials or _TRIALS
    size = len(grid_points(space))
    return min(options.trials or size, size)
