"""The parts of a job, one after the other, with reading, scoring, ranking and writing at the same time."""

import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl

from piavae_jax.serving.batch.job import Job, Shard, workspace
from piavae_jax.serving.batch.output import Counts, PartWriter
from piavae_jax.serving.batch.spill import Spill, write_spill
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


def run_shard(
    recommender: Recommender, events: pl.LazyFrame, job: Job, shard: Shard, request: Request, listener: Listener
) -> None:
    """Do what is left of a shard's parts; each appears whole or not at all, and one that is there is left alone.

    Args:
      recommender: the model.
      events: columns `user` and `item`, the log.
      job: an open job.
      shard: this process's share.
      request: what to recommend.
      listener: told of the progress.

    Raises:
      UserError: an id is malformed, the disk refuses, or another process has the same shard.
    """
    with workspace(job, shard) as folder:
        left = shard.owns(job.parts) & ~job.done()
        if left.any():
            spill = _lay_out(events, folder / "spill", recommender, left, listener)
            parts = [int(part) for part in np.flatnonzero(left)]
            listener.parts_started(parts=len(parts), interactions=sum(map(spill.interactions, parts)))
            _Pipeline(recommender, spill, job, request, folder, listener).run(parts)
        shutil.rmtree(folder)


def _lay_out(
    events: pl.LazyFrame, folder: Path, recommender: Recommender, own: np.ndarray, listener: Listener
) -> Spill:
    found = Spill.find(folder, own)
    if found is not None:
        return found
    write_spill(events, folder, items=recommender.items, parts=len(own), own=own, listener=listener.rows_read)
    return Spill(folder)


class _Part(NamedTuple):
    number: int
    histories: Histories
    interactions: int
    """Rows of the log."""


class _Piece(NamedTuple):
    """A batch of a part; a part without users has one piece without a batch."""

    part: _Part
    batch: Batch | None
    started: Any
    """What the scorer needs to finish the batch."""
    last: bool


class _Pipeline:
    """Threads: one reads the next part, this one feeds the device, two rank, one writes. All keep the order."""

    def __init__(
        self, recommender: Recommender, spill: Spill, job: Job, request: Request, folder: Path, listener: Listener
    ) -> None:
        self._recommender, self._spill, self._job, self._request = recommender, spill, job, request
        self._folder, self._listener = folder, listener
        self._writer: PartWriter | None = None
        self._failed = False

    def run(self, parts: Sequence[int]) -> None:
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

    def _read(self, part: int) -> _Part:
        return _Part(part, self._spill.read(part), self._spill.interactions(part))

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
