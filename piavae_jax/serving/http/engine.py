"""One loaded run: a recommender, its catalogue in Python's own types, and the micro-batches that it answers in."""

import datetime
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl

from piavae_jax.data.csr import CSR
from piavae_jax.errors import UserError
from piavae_jax.evaluation import NO_ITEM
from piavae_jax.serving import Recommender
from piavae_jax.serving.http.limits import Limits
from piavae_jax.serving.http.search import TitleSearch
from piavae_jax.serving.items import UNKNOWN
from piavae_jax.serving.ranking import rank_rows
from piavae_jax.serving.recommender import MODEL, POPULAR, without_each
from piavae_jax.serving.scorer import BATCH_SIZES, Restriction

_SIMILAR_KEPT = 4_096  # lists


class Job(NamedTuple):
    """A request for recommendations, in the model's terms."""

    rows: list[np.ndarray]
    """int32[n], distinct items of each user."""
    unknown: list[int]
    """Items of each user's history that were dropped."""
    k: int
    restriction: Restriction


class Engine:
    """A run that is ready to answer. All methods but `job` and `search` belong to one thread."""

    def __init__(self, recommender: Recommender, limits: Limits) -> None:
        """Take a recommender; `load` finds one in a run folder."""
        self.recommender, self.limits = recommender, limits
        vocabulary = recommender.run.vocabulary
        self.name = recommender.run.config.name
        self.loaded = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.search = TitleSearch(vocabulary)
        self._ids, self._titles = vocabulary["item_id"].to_list(), vocabulary["title"].to_list()
        self._indices = {item: index for index, item in enumerate(self._ids)}
        self._id_type = type(self._ids[0])
        self._similar = lru_cache(_SIMILAR_KEPT)(self._find_similar)

    @classmethod
    def load(cls, run: Path, limits: Limits) -> Self:
        """Restore a run and compile what its requests will need.

        A symbolic link is followed once, so that nothing is read from two runs.

        Raises:
          UserError: the folder is no run, is damaged, or has no checkpoint yet.
        """
        engine = cls(Recommender.from_run(run.resolve()), limits)
        engine.warm_up()
        return engine

    @property
    def num_items(self) -> int:
        """I."""
        return len(self._ids)

    def warm_up(self) -> None:
        """Run each shape of micro-batch once: a request must not wait for the compiler."""
        longest = min(self.limits.history, self.num_items)
        for size in (size for size in BATCH_SIZES if size <= self.limits.users):
            for length in _powers_of_two(longest):
                self.recommender.scorer.scores(_equal_rows(size, length))
        explained: set[tuple[int, int]] = set()
        for count in range(1, min(self.limits.explained_history, self.num_items) + 1):
            rows = without_each(np.arange(count, dtype=np.int32))
            packed = [batch.packed for batch in self.recommender.scorer.batches(rows)]
            shapes = {(len(one.lengths), len(one.items)) for one in packed}
            if not shapes <= explained:
                explained |= shapes
                self.recommender.scorer.log_probabilities(rows, 0)
        self.similar(self._ids[0], 1) if self.num_items > 1 else None

    def job(
        self,
        histories: Sequence[Sequence[Any]],
        k: int,
        *,
        exclude_seen: bool,
        allow: Sequence[Any] | None,
        deny: Sequence[Any] | None,
    ) -> Job:
        """A request in the model's terms.

        Raises:
          UserError: an argument is beyond the limits, or not as `Recommender.recommend` needs it.
        """
        _require_at_most("histories", len(histories), self.limits.users, "users")
        for name, items in (("allow", allow), ("deny", deny)):
            _require_at_most(name, len(items or ()), self.limits.list_items, "items")
        self._check_k(k, self.num_items)
        rows = [self._encode(history, "histories", self.limits.history) for history in histories]
        return Job(
            [np.unique(row[row != UNKNOWN]) for row in rows],
            [int(np.count_nonzero(row == UNKNOWN)) for row in rows],
            k,
            self._restriction(exclude_seen, allow, deny),
        )

    def answer(self, jobs: Sequence[Job]) -> list[list[dict[str, Any]]]:
        """The lists of all users of some jobs, scored as one batch: a `schemas.Recommendations` for each.

        Raises:
          UserError: the model's scores are not finite.
        """
        scores = self.recommender.scorer.scores(_stacked([row for job in jobs for row in job.rows]))
        answers, start = [], 0
        for job in jobs:
            answers.append(self._lists(job, scores[start : start + len(job.rows)]))
            start += len(job.rows)
        return answers

    def similar(self, item: Any, k: int, by: str = "decoder") -> list[dict[str, Any]]:
        """The `schemas.ScoredItem`s most like an item; arguments and errors as `Recommender.similar_items`."""
        if self.num_items > 1:
            self._check_k(k, self.num_items - 1)
        return self._similar(item, k, by)

    def explain(self, history: Sequence[Any], item: Any) -> list[dict[str, Any]]:
        """`schemas.Influence`s; arguments and errors as `Recommender.explain`."""
        self.item(item)
        row = self._encode(history, "history", self.limits.explained_history)
        known = [self._ids[index] for index in np.unique(row[row != UNKNOWN])]
        if not [own for own in known if own != item]:
            raise UserError("history must hold an item, other than the explained one, that the model knows: add one")
        return self.recommender.explain(known, item).to_dicts()

    def item(self, item: Any) -> dict[str, Any]:
        """A `schemas.Item`.

        Raises:
          UserError: it is unknown.
        """
        if item not in self._indices:
            raise UserError(f"item must be one that the model was trained on, got {_shown(item)}: see GET /items")
        return self._item(self._indices[item])

    def item_id(self, text: str) -> Any:
        """The id that a part of a URL stands for."""
        if self._id_type is not int:
            return text
        return int(text) if text.removeprefix("-").isdecimal() and len(text) < 20 else text

    def _lists(self, job: Job, scores: np.ndarray) -> list[dict[str, Any]]:
        lengths = [len(row) for row in job.rows]
        seen = (np.repeat(np.arange(len(lengths)), lengths), np.concatenate(job.rows))
        ranked = rank_rows(
            scores, job.k, excluded=seen if job.restriction.exclude_seen else None, penalty=job.restriction.penalty
        )
        popular = None
        lists = []
        for row, length in enumerate(lengths):
            items, values, source = ranked.items[row], ranked.scores[row], MODEL
            if not length:
                popular = popular or self.recommender.popular(job.k, job.restriction)
                items, values, source = popular.items[0], popular.scores[0], POPULAR
            lists.append({"source": source, "unknown": job.unknown[row], "items": self._scored(items, values)})
        return lists

    def _scored(self, items: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
        pairs = zip(items.tolist(), scores.tolist(), strict=True)
        return [{**self._item(index), "score": score} for index, score in pairs if index != NO_ITEM]

    def _item(self, index: int) -> dict[str, Any]:
        return {"item_id": self._ids[index], "title": self._titles[index]}

    def _find_similar(self, item: Any, k: int, by: str) -> list[dict[str, Any]]:
        found = self.recommender.similar_items(item, k, by=by)
        return found.select(pl.exclude("rank")).to_dicts()

    def _restriction(self, exclude_seen: bool, allow: Sequence[Any] | None, deny: Sequence[Any] | None) -> Restriction:
        for items in (allow, deny):
            self._check_types(items or (), "allow and deny")
        for item in allow or ():
            self.item(item)
        return self.recommender.restriction(
            exclude_seen=exclude_seen, allow=allow, deny=[item for item in deny or () if item in self._indices] or None
        )

    def _encode(self, history: Sequence[Any], name: str, most: int) -> np.ndarray:
        """int32[n]; a dictionary is faster than `ItemIndex` for one short list."""
        _require_at_most(name, len(history), most, "items a user")
        self._check_types(history, name)
        return np.array([self._indices.get(item, UNKNOWN) for item in history], np.int32)

    def _check_types(self, items: Iterable[Any], name: str) -> None:
        for item in items:
            if type(item) is not self._id_type:
                kind = "integers" if self._id_type is int else "strings"
                raise UserError(f"{name} must hold ids as the model has them, {kind}, got {_shown(item)}: convert them")

    def _check_k(self, k: int, most: int) -> None:
        most = min(self.limits.k, most)
        if not 1 <= k <= most:
            raise UserError(f"k must be from 1 to {most}, got {_shown(k)}: ask for fewer items")


def _require_at_most(name: str, count: int, most: int, what: str) -> None:
    if count > most:
        raise UserError(f"{name} must hold at most {most:,} {what}, got {count:,}: send fewer")


def _shown(value: object) -> str:
    """What a sentence shows of a client's value: short, and nothing that UTF-8 lacks."""
    text = ascii(value) if not isinstance(value, int) or abs(value) < 10**18 else "a longer number"
    return text if len(text) <= 60 else f"{text[:60]}..."


def _powers_of_two(most: int) -> list[int]:
    """1, 2, 4, ... and the first that is not below `most`, but no more than `most` itself."""
    return sorted({min(1 << power, most) for power in range(most.bit_length() + 1)})


def _equal_rows(count: int, length: int) -> CSR:
    return CSR(np.arange(count + 1) * length, np.tile(np.arange(length, dtype=np.int32), count))


def _stacked(rows: list[np.ndarray]) -> CSR:
    return CSR(np.concatenate([[0], np.cumsum([len(row) for row in rows])]), np.concatenate(rows).astype(np.int32))
