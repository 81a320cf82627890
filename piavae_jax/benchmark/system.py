"""What a benchmark is made of: systems to run, and what a run of one yields."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from rich.console import Console

from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.evaluation import UserMetrics

Family: TypeAlias = Literal["vae", "ranking", "linear", "popularity", "fusion"]


class Outcome(NamedTuple):
    """What a run yields: each user's values, and what it took."""

    validation: UserMetrics
    test: UserMetrics
    """Measured once, with the settings that were best on validation."""
    train_seconds: float
    """Wall-clock seconds of training with those settings; search, validation and test are not in it."""
    parameters: int
    """Learned numbers that scores are computed from; what only training needs, such as anchors, is not counted."""
    settings: dict[str, Any]
    """JSON values by name, those chosen on validation among them."""


RunFn: TypeAlias = Callable[[PreparedDataset, Path, int, Console], Outcome]
"""`run(dataset, folder, seed, console) -> Outcome`: may keep what it likes in the folder, which exists, and goes on
there where it was stopped. Test users must have no influence on what it chooses."""


class System(NamedTuple):
    """Something that recommends."""

    name: str
    """Names its folder and its rows in files."""
    label: str
    """Names it in tables and pictures."""
    seeds: bool
    """Whether runs differ by seed; one that has no random draw runs once."""
    family: Family
    run: RunFn
    baseline: str = ""
    """The name of the system that it is a variant of, if it is one."""
    needs: tuple[str, ...] = ()
    """Names of systems whose runs of the same seed it takes over where they are done."""
    check: Callable[[], None] = lambda: None
    """Raises UserError where it cannot be run, for want of a package."""
