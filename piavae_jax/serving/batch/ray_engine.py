"""A job shared by the machines of a Ray cluster: Ray Data reads, shuffles and schedules; each part is made as ever.

    chunks of the log -> its rows with part and item index -> grouped by part -> a file a part

The machines need this package, and the paths of run, log and output, such as on a shared file system. Each row of the
log is read once, by whoever is free. Files are those of a job without Ray, byte for byte on machines alike.
"""

import contextlib
import logging
import os
import platform
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import ray

from piavae_jax import compile_cache, xla_flags
from piavae_jax.errors import UserError
from piavae_jax.serving.batch.job import Job, Log, Shard, params_digest, workspace
from piavae_jax.serving.batch.pipeline import Listener, Part, Pipeline, Request
from piavae_jax.serving.batch.spill import CHUNK_ROWS, encode, to_histories
from piavae_jax.serving.items import ItemIndex, as_ids
from piavae_jax.serving.recommender import Recommender


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Join the Ray cluster at an address, `auto` for the one of this machine; None starts a local one for the block.

    Raises:
      UserError: there is no cluster at the address, or Ray does not start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # who starts a job has not been asked
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it takes how Ray Data starts its actors for an error
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        _knock(address)
        ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **local)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).split("\n", 1)[0]
        what = "--ray-address must be a cluster's" if address else "a local Ray cluster must start"
        raise UserError(f"{what}, got {address or 'an error'} ({reason}): see ray status") from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Raise OSError where nobody listens: Ray would try for more than ten minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def run_on_cluster(
    recommender: Recommender, log: Log, job: Job, shard: Shard, request: Request, listener: Listener
) -> None:
    """Do what is left of a shard's parts on the cluster that this process has joined, as `runner.run_shard` does alone.

    Args:
      recommender: the model, whose run folder every machine finds at its path.
      log: the log, by paths that every machine has.
      job: an open job.
      shard: the share of the cluster, all parts but where other clusters or processes have others.
      request: what to recommend.
      listener: told of the progress; the rows of a part are an estimate.

    Raises:
      UserError: an id is malformed, a disk refuses, a machine has another model, or another process has the same shard.
    """
    job = job._replace(output=job.output.absolute())  # workers may be in other folders
    with workspace(job, shard) as folder:
        left = shard.owns(job.parts) & ~job.done()
        if left.any():
            each = log.rows // job.parts
            listener.parts_started(parts=int(left.sum()), interactions=each * int(left.sum()))
            with users_errors():
                for users in _make_parts(recommender, log, job, left, request, folder):
                    listener.part_done(users=users, interactions=each)
            empty = [int(part) for part in np.flatnonzero(shard.owns(job.parts) & ~job.done())]
            nobody = to_histories(pl.DataFrame(schema=_schema(log)))
            Pipeline(recommender, lambda part: Part(part, nobody, 0), job, request, folder, listener).run(empty)


def _schema(log: Log) -> dict[str, Any]:
    """Of rows whose items are indices."""
    return {"user": as_ids(log.events.clear().collect()["user"], "user").dtype, "item": pl.Int32}


@contextmanager
def users_errors() -> Iterator[None]:
    """Raise what a worker raised, in place of Ray's account of it."""
    try:
        yield
    except ray.exceptions.RayError as error:
        cause: BaseException | None = error
        while isinstance(cause, ray.exceptions.RayError):  # it passes for what it reports, so its type says nothing
            cause = getattr(cause, "cause", None) or cause.__cause__
        if not isinstance(cause, UserError | OSError):
            raise
        raise UserError(str(cause).split("\n", 1)[0]) from None  # Ray adds lines of advice


def _make_parts(
    recommender: Recommender, log: Log, job: Job, left: np.ndarray, request: Request, folder: Path
) -> Iterator[int]:
    """Write the parts of `left: bool[parts]` that have rows; the number of users of each when it is written."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what goes wrong is raised
    chunks, resources = -(-log.rows // CHUNK_ROWS), ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    encoded = ray.data.range(chunks, override_num_blocks=chunks).map_batches(
        partial(_encode_chunk, events=log.events, items=recommender.items, left=left), batch_size=1
    )
    written = encoded.groupby("part", num_partitions=min(int(left.sum()), 4 * chunks)).map_groups(
        _Worker,
        batch_format="pyarrow",
        # Half of the CPUs are left to read and to shuffle; a worker's threads take those when they are idle.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=gpus or max(1, int(resources["CPU"]) // 2)),
        fn_constructor_args=(recommender.run.path.absolute(), params_digest(recommender.params), job, request, folder),
        num_cpus=1,
        num_gpus=1 if gpus else 0,
    )
    for row in written.iter_rows():
        yield row["users"]


def _encode_chunk(
    chunk: dict[str, np.ndarray], *, events: pl.LazyFrame, items: ItemIndex, left: np.ndarray
) -> pa.Table:
    """The rows of one chunk of the log that belong to the parts of `left: bool[parts]`."""
    rows = events.slice(int(chunk["id"][0]) * CHUNK_ROWS, CHUNK_ROWS).collect(engine="streaming")
    users, part, indices = encode(rows, items=items, parts=len(left))
    table = pl.DataFrame({"part": part, "user": users, "item": indices}).filter(left[part])
    return table.to_arrow(compat_level=pl.CompatLevel.oldest())


class _Silent:
    """A listener; the process that started the job has the one that speaks."""

    def rows_read(self, rows: int) -> None:
        pass

    def parts_started(self, *, parts: int, interactions: int) -> None:
        pass

    def part_done(self, *, users: int, interactions: int) -> None:
        pass


class _Worker:
    """A process that has the model and writes a part at a time."""

    def __init__(self, run: Path, digest: str, job: Job, request: Request, folder: Path) -> None:
        xla_flags.launch_in_order(os.environ)
        with contextlib.suppress(UserError):  # then programs are compiled again
            compile_cache.enable()
        logging.getLogger("absl").setLevel(logging.ERROR)
        self._recommender, self._job, self._request = Recommender.from_run(run), job, request
        if params_digest(self._recommender.params) != digest:
            raise UserError(f"{run} must be the same on all machines, got another model on {platform.node()}: copy it")
        self._folder = folder / f"worker-{uuid.uuid4().hex}"
        self._folder.mkdir()

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Write the part that these rows are, unless it is there: Ray may call twice. Returns its number of users."""
        number, table = rows["part"][0].as_py(), pl.from_arrow(rows.select(["user", "item"]))
        assert isinstance(table, pl.DataFrame)
        histories = to_histories(table)
        if not self._job.part_file(number).is_file():
            part = Part(number, histories, table.height)
            Pipeline(self._recommender, lambda _: part, self._job, self._request, self._folder, _Silent()).run([number])
        return pa.table({"users": [len(histories.users)]})
