"""The run beside cheap baselines on the same held-out users."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from piavae_jax.baselines import choose, popularity_scores
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.evaluation import (
    Comparison,
    Evaluator,
    ScoreFn,
    UserMetrics,
    bootstrap_interval,
    compare,
    holm,
)
from piavae_jax.training.restore import TrainedModel

POPULARITY, EASE = "Popularity", "EASE"
EASE_MAX_ITEMS = 5_000
"""Catalogues beyond this make EASE, which is cubic in I, no cheap baseline."""
EASE_GRID = (100.0, 200.0, 400.0, 800.0)
"""Regularisations that the validation users choose from."""


class Scorer(NamedTuple):
    """Something that ranks items."""

    name: str
    score: ScoreFn
    params: Any
    """The first argument of `score`."""
    note: str
    """What was chosen for it, and how; may be empty."""


class Interval(NamedTuple):
    """The mean of a metric over users, with the 95 % interval of a bootstrap over users."""

    mean: float
    low: float
    """NaN, as `high` is, for fewer than two users."""
    high: float
    users: int
    """Users with a value."""


class System(NamedTuple):
    """A scorer and its results."""

    scorer: Scorer
    users: UserMetrics
    intervals: dict[str, Interval]
    """By metric, such as "ndcg@100"."""


def scorers_of(trained: TrainedModel, name: str, dataset: PreparedDataset) -> list[Scorer]:
    """The run itself, popularity among its training users and, for a small catalogue, EASE."""
    counts = jnp.asarray(trained.run.vocabulary["train_users"].to_numpy(), jnp.float32)
    scorers = [Scorer(name, trained.score, trained.params, ""), Scorer(POPULARITY, popularity_scores, counts, "")]
    if dataset.num_items <= EASE_MAX_ITEMS:
        choice = choose("ease", dataset, grid={"regularization": EASE_GRID})
        tried = ", ".join(f"{value:g}" for value in EASE_GRID)
        note = f"regularisation {choice.settings['regularization']:g}, of {tried} the best on the validation users"
        scorers.append(Scorer(EASE, choice.baseline.score, choice.params, note))
    return scorers


def evaluate(scorers: list[Scorer], evaluator: Evaluator) -> list[System]:
    """Results of each scorer, on the same users in the same order."""
    return [_with_intervals(scorer, evaluator.evaluate(scorer.score, scorer.params)) for scorer in scorers]


def _with_intervals(scorer: Scorer, users: UserMetrics) -> System:
    return System(scorer, users, {metric: interval_of(values) for metric, values in users.values.items()})


def interval_of(values: np.ndarray) -> Interval:
    """Mean and interval of float[V]; NaN marks users without a value."""
    present = values[~np.isnan(values)]
    if len(present) < 2:
        return Interval(float(present.mean()) if len(present) else np.nan, np.nan, np.nan, len(present))
    return Interval(float(present.mean()), *bootstrap_interval(present), len(present))


def compare_with_baselines(systems: list[System]) -> list[Comparison]:
    """The first system with each of the others, metric by metric, the p-values corrected for all of these together."""
    first, *others = systems
    rows = [
        row
        for other in others
        for row in compare({first.scorer.name: first.users, other.scorer.name: other.users}, other.scorer.name)
    ]
    corrected = holm(np.array([row.p_value for row in rows]))
    return [row._replace(p_holm=float(p)) for row, p in zip(rows, corrected, strict=True)]
