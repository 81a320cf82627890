"""Synthetic interactions with popularity, activity and taste like real ones, and the truth behind them.

Each community draws items from its own distribution, popularity times a log-normal factor; each user mixes a few
communities and takes distinct items one after another with the mixture's probabilities, until the history is full.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.optimize import brentq

from piavae_jax.data import alias
from piavae_jax.data.checks import check_count
from piavae_jax.data.interactions import Interactions
from piavae_jax.data.shapes import Shape

_MAX_USERS_A_CHUNK = 8_192
_THREADS = 2
_ROUNDS = 6
_NUMBER_BITS = 32
_NUMBER_MASK = (1 << _NUMBER_BITS) - 1
_MAX_PAIRS = 1 << (63 - _NUMBER_BITS)  # (row, item) pairs that leave room for a draw's number in 63 bits
_FIRST_DAY = 1_577_836_800  # 2020-01-01, Unix seconds
_PERIOD = 3 * 365 * 86_400  # seconds over which users arrive
_MEAN_GAP = 86_400  # seconds between a user's events


class GroundTruth(NamedTuple):
    """The distributions that the interactions were drawn from; C communities, M of them a user."""

    communities: np.ndarray
    """int32[U, M], the communities that each user mixes (one may occur twice)."""
    weights: np.ndarray
    """float32[U, M], their shares; rows sum to 1."""
    item_probabilities: np.ndarray
    """float64[C, I]; rows sum to 1."""

    def probabilities(self, users: np.ndarray) -> np.ndarray:
        """float64[B, I], chance of each item to be a user's next, before the items that the user has are ruled out."""
        return np.einsum("bm,bmi->bi", self.weights[users], self.item_probabilities[self.communities[users]])


class Synthetic(NamedTuple):
    """A generated log: user u of the truth has id u + 1, item i has id i + 1."""

    interactions: Interactions
    truth: GroundTruth


def generate(shape: Shape, *, seed: int, timestamps: bool = False) -> Synthetic:
    """Draw a data set; the same shape and seed give the same bits.

    Args:
      shape: sizes and statistics; `SHAPES` has presets.
      seed: of `numpy.random.default_rng`.
      timestamps: whether to draw times as well; they rise along each user's rows.

    Raises:
      UserError: the seed is negative.
    """
    check_count("seed", seed, minimum=0)
    rng = np.random.default_rng(seed)
    lengths = _history_lengths(shape, rng)
    truth = _draw_truth(shape, rng)
    columns = {"user": np.repeat(np.arange(1, shape.users + 1, dtype=np.int32), lengths)}
    columns["item"] = _draw_items(truth, lengths, rng)
    if timestamps:
        columns["timestamp"] = _draw_times(lengths, rng)
    source = f"generated, {shape.users} users, {shape.items} items, seed {seed}"
    return Synthetic(Interactions(pl.LazyFrame(columns), _titles(truth), source), truth)


def _history_lengths(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """int64[U], log-normal, clipped, and scaled so that they sum to `shape.interactions`."""
    spread = np.exp(shape.activity_spread * rng.standard_normal(shape.users))

    def at_scale(log_scale: float) -> np.ndarray:
        return np.clip(np.exp(log_scale) * spread, shape.min_history, shape.max_history)

    log_scale = brentq(lambda log_scale: at_scale(log_scale).sum() - shape.interactions, -50.0, 50.0, xtol=1e-13)
    # Rounding the running total rather than each length keeps the sum.
    return np.diff(np.floor(np.cumsum(at_scale(log_scale)) + 0.5).astype(np.int64), prepend=0)


def _draw_truth(shape: Shape, rng: np.random.Generator) -> GroundTruth:
    ranks = rng.permutation(shape.items) + 1
    popularity = (ranks + shape.popularity_offset) ** -shape.popularity_exponent
    taste = np.exp(shape.taste_spread * rng.standard_normal((shape.communities, shape.items)))
    item_probabilities = popularity * taste
    mixed = (shape.users, shape.communities_per_user)
    return GroundTruth(
        communities=rng.integers(shape.communities, size=mixed, dtype=np.int32),
        weights=rng.dirichlet(np.full(mixed[1], shape.concentration), size=mixed[0]).astype(np.float32),
        item_probabilities=item_probabilities / item_probabilities.sum(axis=1, keepdims=True),
    )


def _titles(truth: GroundTruth) -> pl.DataFrame:
    """Titles that name the community that likes an item most, to judge recommendations by eye."""
    lift = truth.item_probabilities / truth.item_probabilities.mean(axis=0)
    favourite = lift.argmax(axis=0)
    ids = np.arange(1, len(favourite) + 1)
    titles = [f"Item {item} (community {community})" for item, community in zip(ids, favourite, strict=True)]
    return pl.DataFrame({"item": ids, "title": titles})


def _draw_items(truth: GroundTruth, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int32[n], item ids of all users, user by user in the order drawn."""
    sampler = _Sampler(truth)
    step = min(_MAX_USERS_A_CHUNK, _MAX_PAIRS // sampler.num_items)
    starts = range(0, len(lengths), step)

    def draw(start: int, generator: np.random.Generator) -> np.ndarray:
        users = np.arange(start, min(start + step, len(lengths)))
        return sampler.histories(users, lengths[users], generator) + np.int32(1)

    with ThreadPoolExecutor(_THREADS) as pool:  # NumPy lets go of the interpreter while it draws and sorts
        return np.concatenate(list(pool.map(draw, starts, rng.spawn(len(starts)))))


class _Sampler:
    """Draws users' histories from the truth."""

    def __init__(self, truth: GroundTruth) -> None:
        self.truth = truth
        self.num_items = truth.item_probabilities.shape[1]
        self.tables = alias.build(truth.item_probabilities)
        self.cumulative_weights = np.cumsum(truth.weights, axis=1)

    def histories(self, users: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """int32[sum(lengths)], distinct items of each user in the order drawn.

        Items that come up again are discarded, which is sequential sampling without replacement. A user whose taste is
        so narrow that this takes too long is finished by an exponential race, which has the same distribution.
        """
        rows = items = np.zeros(0, np.int64)
        unfinished = np.ones(len(users), bool)
        parts = []
        for _ in range(_ROUNDS):
            missing = np.where(unfinished, lengths - np.bincount(rows, minlength=len(users)), 0)
            new_rows = np.repeat(np.arange(len(users)), np.where(missing > 0, missing + missing // 2 + 8, 0))
            new_items = self._draw(users[new_rows], rng)
            rows, items = self._distinct(np.append(rows, new_rows), np.append(items, new_items), lengths)
            unfinished = unfinished & (np.bincount(rows, minlength=len(users)) < lengths)
            parts.append((rows[~unfinished[rows]], items[~unfinished[rows]]))
            rows, items = rows[unfinished[rows]], items[unfinished[rows]]
        parts.append((rows, items))
        parts.extend(
            self._finish(row, users[row], items[rows == row], lengths[row], rng)
            for row in np.flatnonzero(unfinished).tolist()
        )
        all_rows, all_items = (np.concatenate(column) for column in zip(*parts, strict=True))
        return all_items[_order(all_rows)].astype(np.int32)

    def _draw(self, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """int64[n], an item for each user in `users` (int[n]), drawn independently."""
        choice = rng.random(len(users), np.float32)[:, None] > self.cumulative_weights[users, :-1]
        return self.tables.draw(self.truth.communities[users, choice.sum(axis=1)], rng)

    def _distinct(self, rows: np.ndarray, items: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first `lengths[row]` distinct items of each row, in the order drawn."""
        numbers = np.arange(len(rows))
        keys = np.sort((rows * self.num_items + items) << _NUMBER_BITS | numbers)
        first = np.diff(keys >> _NUMBER_BITS, prepend=-1) != 0
        numbers = np.sort(keys[first] & _NUMBER_MASK)
        numbers = numbers[_order(rows[numbers])]
        rows, items = rows[numbers], items[numbers]
        starts = np.searchsorted(rows, np.arange(len(lengths)))
        wanted = np.arange(len(rows)) - starts[rows] < lengths[rows]
        return rows[wanted], items[wanted]

    def _finish(
        self, row: int, user: int, drawn: np.ndarray, length: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        probabilities = self.truth.probabilities(np.array([user]))[0]
        with np.errstate(divide="ignore"):
            arrivals = rng.standard_exponential(self.num_items) / probabilities
        arrivals[drawn] = np.inf
        missing = length - len(drawn)
        items = np.argpartition(arrivals, missing)[:missing]
        items = items[np.argsort(arrivals[items])]
        return np.full(len(items), row), items


def _order(rows: np.ndarray) -> np.ndarray:
    """What a stable argsort gives; sorting plain integers is several times faster."""
    return np.sort(rows << _NUMBER_BITS | np.arange(len(rows))) & _NUMBER_MASK


def _draw_times(lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int64[n], Unix seconds that rise along each user's events."""
    gaps = rng.exponential(_MEAN_GAP, int(lengths.sum()))
    elapsed = np.cumsum(gaps)
    starts = np.cumsum(lengths) - lengths
    arrivals = _FIRST_DAY + rng.uniform(0, _PERIOD, len(lengths))
    return (elapsed + np.repeat(arrivals - elapsed[starts], lengths)).astype(np.int64)
