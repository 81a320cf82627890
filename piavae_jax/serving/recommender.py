"""Recommendations for users that training never saw, from a run folder alone."""

from collections.abc import Iterable
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from piavae_jax.data.csr import CSR
from piavae_jax.errors import UserError
from piavae_jax.evaluation import NO_ITEM
from piavae_jax.models import HierarchicalModel, Model
from piavae_jax.serving import vectors
from piavae_jax.serving.histories import Histories, HistoriesLike, read_histories
from piavae_jax.serving.items import UNKNOWN, ItemIndex, series_of
from piavae_jax.serving.ranking import RankedRows, rank_rows
from piavae_jax.serving.scorer import Restriction, Scorer
from piavae_jax.training.fusion import member_recipes
from piavae_jax.training.restore import restore
from piavae_jax.training.run_folder import RunFolder

MODEL, POPULAR = "model", "popular"
SOURCES = pl.Enum([MODEL, POPULAR])
"""Where a recommendation comes from: the model, or the popularity of items for a user without known history."""

ITEM_VECTORS = ("decoder", "anchors")
"""What `Recommender.similar_items` can compare items by."""


class Recommender:
    """A trained model, ready to recommend. External ids go in and come out."""

    def __init__(self, run: RunFolder, scorer: Scorer, params: Any) -> None:
        """Take a run, what scores with its parameters, and those; `from_run` finds them in a folder."""
        self.run, self.scorer, self.params = run, scorer, params
        self.items = ItemIndex(run.vocabulary["item_id"])
        self._popularity = run.vocabulary["train_users"].to_numpy().astype(np.float32)

    @classmethod
    def from_run(cls, run: Path | str) -> Self:
        """Restore a run, fused or not, at its best epoch; no data set is needed.

        Raises:
          UserError: the folder is no run, is damaged, or has no checkpoint yet.
        """
        folder, score, params = restore(Path(run))
        return cls(folder, Scorer(score, params, num_items=folder.vocabulary.height), params)

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.items)

    def read(self, histories: HistoriesLike) -> Histories:
        """Histories as the model knows them, with what was dropped; all methods take these too. See `read_histories`.

        Raises:
          UserError: they are malformed.
        """
        return read_histories(histories, self.items)

    def recommend(
        self,
        histories: HistoriesLike,
        k: int,
        *,
        exclude_seen: bool = True,
        allow: Iterable[Any] | None = None,
        deny: Iterable[Any] | None = None,
    ) -> pl.DataFrame:
        """The k best items of each user.

        A user without a known item gets the items with most training users; such rows have the source "popular" and
        those users' number as score. Lists are shorter than k where fewer items may be recommended. A user's list
        depends on that user alone, up to rounding.

        Args:
          histories: U users, in any form that `read_histories` reads; repeats count once, unknown items not at all.
          k: at least 1, at most I.
          exclude_seen: leave a user's own items out.
          allow: the only items that may be recommended; None allows all.
          deny: items that must not be recommended; those that the model does not know are ignored.

        Returns:
          Columns `user_id`, `item_id`, `score` Float32 (comparable within a user), `rank` Int32 from 1, and `source`,
          user by user, best first.

        Raises:
          UserError: an argument is not as above, or the model's scores are not finite.
        """
        restriction = self.restriction(exclude_seen=exclude_seen, allow=allow, deny=deny)
        k = self.check_k(k)
        known = self.read(histories)
        parts = [self.no_recommendations(known)]
        for rows, ranked in self.scorer.rank(known.rows, k, restriction):
            parts.append(self.label(known, np.arange(rows.start, rows.stop), ranked, k, restriction))
        return pl.concat(parts)

    def label(
        self, histories: Histories, users: np.ndarray, ranked: RankedRows, k: int, restriction: Restriction
    ) -> pl.DataFrame:
        """The table of some users' ranked lists, popular items in place of those of users without history.

        Args:
          histories: U users.
          users: int[B], rows of them.
          ranked: their lists.
          k: as asked for.
          restriction: as ranked with.
        """
        empty = histories.rows.lengths[users] == 0
        if not empty.any():
            return self.table(histories, users, ranked, source=MODEL)
        popular = self.popular(k, restriction)
        items = np.where(empty[:, None], popular.items, ranked.items)
        scores = np.where(empty[:, None], popular.scores, ranked.scores)
        return self.table(histories, users, RankedRows(items, scores), source=np.where(empty, POPULAR, MODEL))

    def popular(self, k: int, restriction: Restriction) -> RankedRows:
        """[1, K], the items with most training users."""
        return rank_rows(self._popularity[None, :], k, excluded=None, penalty=restriction.penalty)

    def table(
        self, histories: Histories, users: np.ndarray, ranked: RankedRows, *, source: str | np.ndarray
    ) -> pl.DataFrame:
        """Ranked lists as `recommend` returns them."""
        filled = ranked.items != NO_ITEM
        counts = np.count_nonzero(filled, axis=1)
        ranks = np.broadcast_to(np.arange(1, ranked.items.shape[1] + 1, dtype=np.int32)[None, :], ranked.items.shape)
        sources = pl.Series([source] * len(users) if isinstance(source, str) else source, dtype=SOURCES)
        return pl.DataFrame(
            {
                "user_id": histories.users.gather(np.repeat(users, counts)),
                "item_id": self.items.ids.gather(ranked.items[filled]),
                "score": ranked.scores[filled],
                "rank": ranks[filled],
                "source": sources.gather(np.repeat(np.arange(len(users)), counts)),
            }
        )

    def no_recommendations(self, histories: Histories) -> pl.DataFrame:
        """The table of nobody's lists."""
        none = RankedRows(np.empty((0, 1), np.int32), np.empty((0, 1), np.float32))
        return self.table(histories, np.empty(0, np.int64), none, source=MODEL)

    def similar_items(self, item: Any, k: int, *, by: str = "decoder") -> pl.DataFrame:
        """The k items most similar to one, itself left out.

        Args:
          item: an external id.
          k: at least 1, at most I - 1.
          by: "decoder", the cosine of the vectors that the last layer scores items with; or "anchors", minus the
            Euclidean distance of the anchors that PIA has drawn users to. Of a fused model, the mean over its members.

        Returns:
          Columns `item_id`, `title` (null where unknown), `score` and `rank`, best first.

        Raises:
          UserError: the item is unknown, k is out of range, or the model lacks such vectors.
        """
        index = self._index_of(item)
        if self.num_items == 1:
            raise UserError("similar_items needs a second item, got a model with 1: train on more items")
        k = self.check_k(k, most=self.num_items - 1)
        similarity = np.mean([_similarity(table, index, by) for table in self._item_vectors(by)], axis=0)
        itself = (np.zeros(1, np.int64), np.array([index]))
        ranked = rank_rows(similarity.astype(np.float32)[None, :], k, excluded=itself, penalty=None)
        found = self.run.vocabulary.select("item_id", "title")[ranked.items[0]]
        return found.with_columns(
            score=pl.Series(ranked.scores[0]), rank=pl.Series(np.arange(1, found.height + 1, dtype=np.int32))
        )

    def explain(self, history: Iterable[Any], item: Any) -> pl.DataFrame:
        """Which items of a history pull one user's recommendation of an item, strongest first.

        Args:
          history: external item ids; unknown ones are dropped.
          item: an external id.

        Returns:
          A row for each known item of the history, the explained one left out: `item_id`, `title`; `effect` Float32,
          the item's log-probability (log-softmax of the scores) with the whole history minus that without this item;
          and `anchor_distance` Float32, the Euclidean distance of the two items' anchors, null for a model without.

        Raises:
          UserError: the item is unknown or an id malformed, or the history holds no item that the model knows.
        """
        index = self._index_of(item)
        (rows,) = [self.read({0: history}).rows]
        own = rows.indices[rows.indices != index]
        if not len(own):
            raise UserError(f"history must hold an item, other than {item!r}, that the model knows: it has none")
        logs = self.scorer.log_probabilities(without_each(own), index)
        found = self.run.vocabulary.select("item_id", "title")[own].with_columns(
            effect=pl.Series(logs[-1] - logs[:-1]), anchor_distance=self._anchor_distances(own, index)
        )
        return found.sort("effect", descending=True, maintain_order=True)

    def embed_users(self, histories: HistoriesLike) -> pl.DataFrame:
        """The posterior mean of each user: what the model makes of a history before it scores items.

        Returns:
          Columns `user_id` and `embedding`, Array(Float32, D). A user without a known item has the encoder's answer to
          an empty row.

        Raises:
          UserError: the histories are malformed, or the model is an ensemble.
        """
        known = self.read(histories)
        means = vectors.posterior_means(self.params, self.models[0], known.rows)
        embedding = pl.Series(means.reshape(-1)).reshape(means.shape)
        return pl.DataFrame({"user_id": known.users, "embedding": embedding})

    def restriction(
        self, *, exclude_seen: bool = True, allow: Iterable[Any] | None = None, deny: Iterable[Any] | None = None
    ) -> Restriction:
        """What must not be recommended; arguments and errors as `recommend`."""
        if allow is None and deny is None:
            return Restriction(exclude_seen, None)
        penalty = np.zeros(self.num_items, np.float32)
        if allow is not None:
            penalty[:] = -np.inf
            penalty[self.items.encode_known(allow, name="allow")] = 0.0
        if deny is not None:
            denied = self.items.encode(series_of(deny, "deny"))
            penalty[denied[denied != UNKNOWN]] = -np.inf
        if not np.isfinite(penalty).any():
            raise UserError("allow and deny must leave an item to recommend, they leave none: allow more")
        return Restriction(exclude_seen, penalty)

    def check_k(self, k: int, *, most: int | None = None) -> int:
        """`k`, if lists can be so long.

        Raises:
          UserError: it is no whole number, or out of range.
        """
        most = self.num_items if most is None else most
        if isinstance(k, bool) or not isinstance(k, Integral) or not 1 <= k <= most:
            raise UserError(f"k must be a whole number from 1 to {most}, for the model's items, got {k!r}")
        return int(k)

    @property
    def models(self) -> tuple[Model | HierarchicalModel, ...]:
        """The autoencoder; of a fused model, that of each member."""
        return tuple(recipe.model for recipe in member_recipes(self.run.config, self.run.catalogue))

    def _index_of(self, item: Any) -> int:
        (index,) = self.items.encode_known([item], name="item")
        return int(index)

    def _item_vectors(self, by: str) -> list[np.ndarray]:
        if by == "decoder":
            return vectors.decoder_vectors(self.params, self.models)
        if by != "anchors":
            raise UserError(f"by must be one of {', '.join(ITEM_VECTORS)}, got {by!r}")
        found = vectors.anchors(self.params)
        if not found:
            raise UserError(f'{self.run.path} was trained without PIA and has no anchors: pass by="decoder"')
        return found

    def _anchor_distances(self, items: np.ndarray, index: int) -> pl.Series:
        tables = vectors.anchors(self.params)
        if not tables:
            return pl.Series([None] * len(items), dtype=pl.Float32)
        distances = [np.linalg.norm(table[items] - table[index][None, :], axis=1) for table in tables]
        return pl.Series(np.mean(distances, axis=0)).cast(pl.Float32)


def _similarity(table: np.ndarray, index: int, by: str) -> np.ndarray:
    """float32[I], of all rows of `table: [I, F]` to one."""
    if by == "anchors":
        return -np.linalg.norm(table - table[index][None, :], axis=1)
    lengths = np.maximum(np.linalg.norm(table, axis=1), np.finfo(np.float32).tiny)
    return table @ table[index] / (lengths * lengths[index])


def without_each(items: np.ndarray) -> CSR:
    """n + 1 rows: the n items without the first, without the second, ... and at last all of them."""
    count = len(items)
    kept = ~np.eye(count + 1, count, dtype=bool)
    indices = np.broadcast_to(items[None, :], kept.shape)[kept]
    return CSR(np.concatenate([[0], np.cumsum(kept.sum(axis=1))]), indices)
