"""Sizes and statistics of synthetic data sets, some after well-known real ones."""

import dataclasses

from piavae_jax.data.checks import check_count
from piavae_jax.errors import UserError

_POSITIVE = ("popularity_exponent", "activity_spread", "concentration", "taste_spread")


@dataclasses.dataclass(frozen=True)
class Shape:
    """What `piavae_jax.data.generator.generate` is asked for."""

    users: int
    items: int
    interactions: int
    """Distinct (user, item) pairs in all, met exactly."""
    min_history: int = 5
    """Smallest number of items a user."""
    activity_spread: float = 1.0
    """Standard deviation of the logarithm of the items a user."""
    popularity_exponent: float = 1.0
    """a of the Zipf-Mandelbrot law: an item of popularity rank r >= 1 has weight (r + b)^-a."""
    popularity_offset: float = 0.0
    """b of the law; it flattens the head, as in real catalogues."""
    communities: int = 50
    communities_per_user: int = 3
    """Communities that a user mixes."""
    concentration: float = 0.5
    """Of the symmetric Dirichlet distribution of a user's mixture; smaller is more one-sided."""
    taste_spread: float = 2.0
    """Standard deviation of the logarithm of the factor by which a community re-weights an item's popularity."""

    def __post_init__(self) -> None:
        for name in ("users", "items", "interactions", "min_history", "communities", "communities_per_user"):
            check_count(name, getattr(self, name), minimum=1)
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be positive, got {getattr(self, name)!r}")
        if not self.popularity_offset >= 0:
            raise UserError(f"popularity_offset must be at least 0, got {self.popularity_offset!r}")
        if not self.min_history <= self.interactions / self.users <= self.max_history / 2:
            raise UserError(
                f"interactions must give a mean history from min_history={self.min_history} to a quarter of the items, "
                f"{self.max_history / 2:g}, got {self.interactions / self.users:g}: change interactions, users or items"
            )

    @property
    def max_history(self) -> int:
        """Largest number of items a user: half of the catalogue."""
        return self.items // 2


SHAPES = {
    "tiny": Shape(
        users=3_000,
        items=800,
        interactions=75_000,
        activity_spread=0.7,
        popularity_offset=20.0,
        communities=12,
        communities_per_user=2,
    ),
    "ml-1m": Shape(
        users=6_034,
        items=3_533,
        interactions=575_272,
        popularity_exponent=3.5,
        popularity_offset=1_000.0,
        communities=25,
    ),
    "ml-20m": Shape(
        users=136_677,
        items=20_108,
        interactions=9_990_682,
        activity_spread=1.1,
        popularity_exponent=2.3,
        popularity_offset=530.0,
    ),
    "netflix": Shape(
        users=463_435,
        items=17_769,
        interactions=56_880_037,
        activity_spread=1.1,
        popularity_exponent=2.3,
        popularity_offset=530.0,
    ),
    "msd": Shape(
        users=571_355,
        items=41_140,
        interactions=33_633_450,
        min_history=20,
        activity_spread=0.8,
        popularity_exponent=0.7,
        popularity_offset=15.0,
        communities=200,
    ),
}
"""Presets with the size of the data set of that name after the protocol's filters, and a popularity law and a spread of
activity fitted to what could be measured of it (Netflix takes ML-20M's). `tiny` is for tests and first steps: an honest
model clearly beats popularity on it within seconds."""


def find_shape(name: str) -> Shape:
    """The preset of that name.

    Raises:
      UserError: if there is none.
    """
    if name not in SHAPES:
        raise UserError(f"shape must be one of {', '.join(SHAPES)}, got {name!r}")
    return SHAPES[name]
