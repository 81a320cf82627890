"""What a reader should be warned of: each check with its number and its rule, whether it fires or not."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from piavae_jax.analysis.active_units import ACTIVE_VARIANCE, COLLAPSED_KL, COLLAPSED_SHARE, collapse_warning
from piavae_jax.benchmark.formats import metric_title
from piavae_jax.evaluation import Comparison
from piavae_jax.report.latent import Latent
from piavae_jax.report.lists import ListStatistics
from piavae_jax.report.numbers import interval, percent, score
from piavae_jax.report.systems import Interval
from piavae_jax.training.session import SELECTION_METRIC

_METRIC = metric_title(SELECTION_METRIC)
_MOST_FALL = 0.01
_STILL_RISING = 0.05
_WIDEST = 0.05
_MOST_POPULAR = 1.5
_MOST_CONCENTRATED = 0.1
_LEAST_COVERED = 0.5


class Check(NamedTuple):
    """One rule and what the run says to it."""

    name: str
    fires: bool | None
    """None where the rule does not apply."""
    number: str
    """The measured value, in words."""
    rule: str
    """When it fires."""
    advice: str
    """What a warning means."""


def check_collapse(latent: Latent) -> Check:
    """Whether the posterior has fallen back on the prior, as `analysis.collapse_warning` says."""
    name = "Posterior collapse"
    rule = (
        f"fires if fewer than {percent(COLLAPSED_SHARE)} of the latent units are active, their posterior mean having a "
        f"variance above {ACTIVE_VARIANCE:g} over the test users, or if the KL from N(0, I) is below "
        f"{COLLAPSED_KL:g} nat"
    )
    if not latent.has_posterior:
        return Check(name, None, "The model has a code, not a posterior", rule, "")
    units = latent.users.mean.shape[1]
    return Check(
        name,
        collapse_warning(latent.users) is not None,
        f"{latent.active_units} of {units} latent units are active, a user's KL from N(0, I) is {latent.kl:.0f} nats "
        "on average",
        rule,
        "The latent space says little about a user: lower the weight of the KL term.",
    )


def check_overfitting(records: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Whether validation fell after the best epoch, and whether it was still rising at the end."""
    fall_rule = (
        f"fires if validation {_METRIC} of the last epoch is more than {percent(_MOST_FALL)} below that of the best"
    )
    rise_rule = f"fires if the best epoch is among the last {percent(_STILL_RISING)} of the epochs"
    if not records:
        missing = "The run folder has no record of its epochs"
        return [
            Check("Overfitting", None, missing, fall_rule, ""),
            Check("Training length", None, missing, rise_rule, ""),
        ]
    values = {record["epoch"]: record[f"validation/{SELECTION_METRIC}"] for record in records}
    last, best = records[-1]["epoch"], records[-1]["best_epoch"]
    fall = 1.0 - values[last] / values[best] if values[best] else 0.0
    return [
        Check(
            "Overfitting",
            fall > _MOST_FALL,
            f"Validation {_METRIC} was {score(values[best])} in epoch {best}, the best, and "
            f"{score(values[last])} in the last, {last}: {percent(fall, 1)} below",
            fall_rule,
            "The parameters reported here are those of the best epoch; more epochs of this configuration do harm.",
        ),
        Check(
            "Training length",
            last - best < _STILL_RISING * last,
            f"The best of {last} epochs is number {best}",
            rise_rule,
            "Validation may still be rising: train for more epochs before comparing this model with others.",
        ),
    ]


def check_popularity(recommended: ListStatistics, history: ListStatistics, *, k: int) -> list[Check]:
    """Whether the lists are more popular, more alike or narrower than what the same users chose themselves."""
    ratio = recommended.popularity / history.popularity
    return [
        Check(
            "Popularity bias",
            ratio > _MOST_POPULAR,
            f"A recommended item has {recommended.popularity:,.0f} training users on average, one of a user's history "
            f"{history.popularity:,.0f}: {ratio:.2f} times as many",
            f"fires if a recommended item has more than {_MOST_POPULAR:g} times the training users of one of the "
            "history",
            "Users are shown what is popular more than their own choices warrant.",
        ),
        Check(
            "Concentration",
            recommended.gini - history.gini > _MOST_CONCENTRATED,
            f"The Gini coefficient of how often items are recommended is {recommended.gini:.3f}, that of equally long "
            f"lists drawn from the histories {history.gini:.3f}",
            f"fires if the first is more than {_MOST_CONCENTRATED:g} above the second, in lists of {k}",
            "Few items take most of the places; re-ranking or a cap on exposure spreads them.",
        ),
        Check(
            "Catalogue coverage",
            recommended.coverage < _LEAST_COVERED * history.coverage,
            f"{percent(recommended.coverage, 1)} of the items are recommended to anyone, "
            f"{percent(history.coverage, 1)} are in equally long lists drawn from the histories",
            f"fires if the first is less than {percent(_LEAST_COVERED)} of the second, in lists of {k}",
            "Much of what these users choose is never recommended to any of them.",
        ),
    ]


def check_users(headline: Interval) -> Check:
    """Whether there are enough held-out users for the headline number."""
    half = (headline.high - headline.low) / 2
    relative = half / headline.mean if headline.mean else np.inf
    measured = f"{headline.users:,} users give {_METRIC} to within {score(half)}, {percent(relative, 1)} of the mean"
    return Check(
        "Size of the test set",
        bool(relative > _WIDEST),
        measured,
        f"fires if half the width of the 95\u00a0% interval is more than {percent(_WIDEST)} of the mean",
        "Differences of that size between models show only in paired comparisons, if at all; hold out more users.",
    )


def check_baselines(comparisons: Sequence[Comparison]) -> list[Check]:
    """Whether the run is above each baseline beyond doubt."""
    return [
        Check(
            f"Comparison with {row.baseline}",
            row.low <= 0.0,
            f"{_METRIC} differs from {row.baseline}'s by {score(row.difference, sign=True)}, 95\u00a0% interval "
            f"{interval(row.low, row.high, sign=True)}",
            f"fires unless the interval of the paired difference from {row.baseline} is above zero",
            f"{row.baseline} is simpler, and "
            + ("better here." if row.high < 0.0 else "these data do not show that the model is better."),
        )
        for row in comparisons
        if row.metric == SELECTION_METRIC
    ]
