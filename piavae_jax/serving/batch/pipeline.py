"""From whole histories to files, a part after the other; reading, scoring, ranking and writing at the same time."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl

from piavae_jax.serving.batch.job import Job
from piavae_jax.serving.batch.output import Counts, PartWriter
from piavae_jax.serving.histories import Histories
from piavae_jax.serving.recommender import Recommender
from piavae_jax.serving.scorer import Batch, Restriction
from piavae_jax.training.feed import prefetch

_RANKERS = 2
_BATCHES = 4  # on their way between the device and the file


class Listener(Protocol):
    """Told how far a job is."""

    def rows_read(self, rows: int) -> None:
        """So many of the log's rows are laid out."""

    def parts_started(self, *, parts: int, interactions: int) -> None:
        """So many parts, with so many rows of the log, are to be done."""

    def part_done(self, *, users: int, interactions: int) -> None:
        """A part of so many users and rows of the log is written."""


class Request(NamedTuple):
    """What is asked of a job besides its users."""

    k: int
    restriction: Restriction


class Part(NamedTuple):
    """The users of a part."""

    number: int
    histories: Histories
    interactions: int
    """Rows of the log."""


class _Piece(NamedTuple):
    """A batch of a part; a part without users has one piece without a batch."""

    part: Part
    batch: Batch | None
    started: Any
    """What the scorer needs to finish the batch."""
    last: bool


class Pipeline:
    """Threads: one reads the next part, this one feeds the device, two rank, one writes. All keep the order."""

    def __init__(
        self,
        recommender: Recommender,
        read: Callable[[int], Part],
        job: Job,
        request: Request,
        folder: Path,
        listener: Listener,
    ) -> None:
        """Take a model, what gives a part by its number, an open job, what is asked, a folder for drafts."""
        self._recommender, self._read, self._job, self._request = recommender, read, job, request
        self._folder, self._listener = folder, listener
        self._writer: PartWriter | None = None
        self._failed = False

    def run(self, parts: Sequence[int]) -> None:
        """Write these parts; each appears whole or not at all.

        Raises:
          UserError: a score is not finite.
          OSError: the disk refuses.
        """
        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(_RANKERS) as rankers, ThreadPoolExecutor(1) as writing:
            try:
                for piece in self._pieces(parts):
                    waiting.append(writing.submit(self._write, piece, rankers.submit(self._rank, piece)))
                    if len(waiting) == _BATCHES:
                        waiting.popleft().result()
                while waiting:
                    waiting.popleft().result()
            finally:
                rankers.shutdown(cancel_futures=True)
                writing.shutdown(cancel_futures=True)
                if self._writer is not None:
                    self._writer.close()

    def _pieces(self, parts: Sequence[int]) -> Iterator[_Piece]:
        with closing(prefetch(self._read, parts)) as read:
            for part in read:
                previous = None
                for batch in self._recommender.scorer.batches(part.histories.rows):
                    if previous is not None:
                        yield previous
                    started = self._recommender.scorer.start(batch, self._request.k, self._request.restriction)
                    previous = _Piece(part, batch, started, last=False)
                yield _Piece(part, None, None, last=True) if previous is None else previous._replace(last=True)

    def _rank(self, piece: _Piece) -> pl.DataFrame:
        recommender, (k, restriction) = self._recommender, self._request
        if piece.batch is None:
            return recommender.no_recommendations(piece.part.histories)
        users = np.arange(piece.batch.users.start, piece.batch.users.stop)
        ranked = recommender.scorer.finish(piece.started, piece.batch, k, restriction)
        return recommender.label(piece.part.histories, users, ranked, k, restriction)

    def _write(self, piece: _Piece, ranked: Future[pl.DataFrame]) -> None:
        if self._failed:  # what waits behind an error must not reach a file
            return
        try:
            self._write_piece(piece, ranked.result())
        except BaseException:
            self._failed = True
            raise

    def _write_piece(self, piece: _Piece, table: pl.DataFrame) -> None:
        part = piece.part
        if self._writer is None:
            staged = self._folder / self._job.part_file(part.number).name
            self._writer = PartWriter(staged, self._job.part_file(part.number))
        self._writer.write(table)
        if piece.last:
            self._writer.commit(_count(part.histories))
            self._writer = None
            self._listener.part_done(users=len(part.histories.users), interactions=part.interactions)


def _count(histories: Histories) -> Counts:
    rows = histories.rows
    return Counts(
        users=len(histories.users),
        popular_users=int(np.count_nonzero(rows.lengths == 0)),
        interactions=rows.nnz,
        unknown_interactions=int(histories.unknown.sum()),
    )
