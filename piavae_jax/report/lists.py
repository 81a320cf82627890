"""Ranked lists of held-out users, and what they say about the catalogue: coverage, concentration, novelty."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax.baselines import recommend
from piavae_jax.data.batches import DeviceRows, gather_batch, to_device
from piavae_jax.data.csr import CSR
from piavae_jax.evaluation import NO_ITEM, ScoreFn
from piavae_jax.report.systems import Scorer


def rank_items(scorer: Scorer, rows: CSR, *, k: int, batch_size: int = 500) -> np.ndarray:
    """Rank the K = min(k, I) best items of each user, those of the user's row left out.

    Args:
      scorer: what ranks.
      rows: V users, what the model is shown of them.
      k: length of the lists.
      batch_size: users at a time.

    Returns:
      int32[V, K], best first; `NO_ITEM` where a list has ended.
    """
    size = min(batch_size, rows.num_rows)
    users = np.arange(rows.num_rows, dtype=np.int32)
    order = np.pad(users, (0, -len(users) % size), constant_values=-1).reshape(-1, size)
    capacity = max(int(np.where(order >= 0, rows.lengths[order], 0).sum(axis=1).max()), 1)
    on_device, params = to_device(rows), jax.device_put(scorer.params)
    lists = [
        _rank_batch(scorer.score, params, on_device, jnp.asarray(batch), capacity=capacity, k=k) for batch in order
    ]
    return np.concatenate([np.asarray(items) for items in lists])[: len(users)]


@partial(jax.jit, static_argnames=("score", "capacity", "k"))
def _rank_batch(score: ScoreFn, params: Any, rows: DeviceRows, users: jax.Array, *, capacity: int, k: int) -> jax.Array:
    return recommend(score, params, gather_batch(rows, users, capacity=capacity), k=k).items


def draw_history(rows: CSR, *, k: int, seed: int = 0) -> np.ndarray:
    """Draw min(k, n) items of each user's n: lists as long as recommended ones, int32[V, K], `NO_ITEM` at the end."""
    generator = np.random.default_rng(seed)
    lists = np.full((rows.num_rows, k), NO_ITEM, np.int32)
    for user, drawn in enumerate(lists):
        items = generator.permutation(rows.row(user))[:k]
        drawn[: len(items)] = items
    return lists


class ListStatistics(NamedTuple):
    """What V users' lists have in common; all but the last two in [0, 1]."""

    coverage: float
    """Share of the catalogue that is in a list at all."""
    gini: float
    """Gini coefficient of how often each of the I items is listed: 0 if all alike, near 1 if few are at all."""
    novelty: float
    """Bits: mean of `-log2(share of training users who have the item)` (Zhou et al., PNAS 2010; Vargas, Castells,
    RecSys 2011)."""
    popularity: float
    """Mean number of training users who have a listed item."""


def describe_lists(lists: np.ndarray, train_users: np.ndarray, num_train_users: int) -> ListStatistics:
    """Coverage, concentration, novelty and popularity of ranked lists.

    Args:
      lists: int[V, K], items; `NO_ITEM` where a list has ended.
      train_users: int[I], training users of each item, at least one.
      num_train_users: training users.
    """
    listed = lists[lists != NO_ITEM]
    counts = np.bincount(listed, minlength=len(train_users))
    return ListStatistics(
        coverage=float(np.mean(counts > 0)),
        gini=gini(counts),
        novelty=float(np.mean(-np.log2(train_users[listed] / num_train_users))),
        popularity=float(np.mean(train_users[listed])),
    )


def gini(counts: np.ndarray) -> float:
    """Gini coefficient of int[I], not all zero: half the mean difference of two entries over the mean."""
    ordered = np.sort(counts)
    size = len(ordered)
    ranks = np.arange(1, size + 1)
    return float(2.0 * np.sum(ranks * ordered) / (size * np.sum(ordered)) - (size + 1) / size)
