"""The baselines by name, each with the settings that a search tries."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from piavae_jax.baselines.baseline import Baseline
from piavae_jax.baselines.ease import ease
from piavae_jax.baselines.edlae import edlae
from piavae_jax.baselines.grals import grals
from piavae_jax.baselines.mf import mf
from piavae_jax.baselines.plrec import plrec
from piavae_jax.baselines.popularity import popularity
from piavae_jax.baselines.wmf import wmf
from piavae_jax.errors import UserError

Grid: TypeAlias = Mapping[str, Sequence[Any]]
"""Values to try by the name of a setting; every combination is a point."""


class Entry(NamedTuple):
    """How a baseline is made, and what a search tries."""

    make: Callable[..., Baseline]
    grid: Grid
    of_many_items: Grid = MappingProxyType({})
    """Values that take the place of the grid's for a catalogue of many items, where few dimensions do not suffice and
    what is not observed is still less of a refusal."""


BASELINES: Mapping[str, Entry] = {
    "popularity": Entry(popularity, {}),
    "mf": Entry(mf, {"regularization": (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0)}, {"dim": (128, 256, 512)}),
    "wmf": Entry(
        wmf,
        {"dim": (64, 256), "unobserved_weight": (0.1, 0.3, 1.0), "regularization": (0.003, 0.01, 0.03)},
        {
            "dim": (128, 256, 512),
            "unobserved_weight": (0.01, 0.02, 0.03, 0.05, 0.1),
            "regularization": (0.0003, 0.001, 0.003, 0.01, 0.03),
        },
    ),
    "grals": Entry(
        grals,
        {"regularization": (2.0, 5.0, 10.0, 15.0, 20.0), "graph_weight": (0.3, 1.0, 3.0)},
        {"dim": (128, 256, 512), "graph_weight": (0.3, 1.0, 3.0, 10.0)},
    ),
    "plrec": Entry(
        plrec,
        {"dim": (64, 256), "degree_exponent": (0.0, 0.25, 0.4), "regularization": (1.0, 10.0, 100.0, 1000.0)},
        {"dim": (256, 512, 1024, 2048)},
    ),
    "ease": Entry(ease, {"regularization": (50.0, 100.0, 200.0, 400.0, 600.0, 800.0, 1200.0)}),
    "edlae": Entry(edlae, {"dropout": (0.33, 0.5, 0.65), "regularization": (30.0, 100.0, 300.0, 500.0)}),
    "edlae_weighted": Entry(
        edlae,
        {
            "activity_exponent": (0.0, 0.25, 0.5, 0.75),
            "dropout": (0.33, 0.5),
            "regularization": (10.0, 30.0, 100.0, 200.0, 300.0),
        },
    ),
}
"""In the order of the paper's Table 1, simplest first."""


def find_baseline(name: str) -> Entry:
    """The entry of that name.

    Raises:
      UserError: if there is none.
    """
    if name not in BASELINES:
        raise UserError(f"baseline must be one of {', '.join(BASELINES)}, got {name!r}")
    return BASELINES[name]


def grid_points(grid: Grid) -> list[dict[str, Any]]:
    """Every combination of the values, the last setting varying fastest; one of no settings for an empty grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
