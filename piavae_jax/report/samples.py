"""A few held-out users, what they had, what they were recommended."""

from typing import NamedTuple

import numpy as np

from piavae_jax.data.prepared import HeldOut
from piavae_jax.evaluation import NO_ITEM, UserMetrics
from piavae_jax.training.session import SELECTION_METRIC

_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)


class Recommendation(NamedTuple):
    """An item of a list."""

    item: int
    is_hit: bool
    """Whether it was held out."""


class SampleUser(NamedTuple):
    """A user for people to look at."""

    user: str
    """External id."""
    quality: float
    """The user's nDCG@100."""
    quantile: float
    """Share of the users who have less."""
    num_input: int
    num_target: int
    shown: list[int]
    """Some items of the history, the most popular first."""
    recommended: list[Recommendation]
    missed: list[int]
    """Some held-out items that the list does not have, the most popular first."""
    num_missed: int
    """All of them."""


def sample_users(
    users: UserMetrics, held_out: HeldOut, lists: np.ndarray, train_users: np.ndarray, *, num_items: int = 12
) -> list[SampleUser]:
    """Take the users at some quantiles of nDCG@100, so that poor lists are seen as well as good ones.

    Args:
      users: results of V users.
      held_out: the same users.
      lists: int[V, K], what is recommended.
      train_users: int[I], popularity.
      num_items: items of the history, and held-out ones, to show at most.
    """
    quality = users[SELECTION_METRIC]
    ranked = np.argsort(quality, kind="stable")[: np.count_nonzero(~np.isnan(quality))]  # NaN sorts last
    places = np.unique(np.round(np.array(_QUANTILES) * (len(ranked) - 1)).astype(int))
    generator = np.random.default_rng(0)
    sampled = []
    for place in places:
        row = int(ranked[place])
        target, history = held_out.target.row(row), held_out.input.row(row)
        shown = generator.permutation(history)[:num_items]
        listed = lists[row][lists[row] != NO_ITEM]
        missed = np.setdiff1d(target, listed)
        sampled.append(
            SampleUser(
                user=str(users.users[row]),
                quality=float(quality[row]),
                quantile=float(np.mean(quality[ranked] < quality[row])),
                num_input=len(history),
                num_target=len(target),
                shown=_by_popularity(shown, train_users),
                recommended=[Recommendation(int(item), bool(item in target)) for item in listed],
                missed=_by_popularity(missed, train_users)[:num_items],
                num_missed=len(missed),
            )
        )
    return sampled


def _by_popularity(items: np.ndarray, train_users: np.ndarray) -> list[int]:
    return items[np.argsort(-train_users[items], kind="stable")].tolist()
