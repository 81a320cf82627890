"""Recommend to everyone in a log: what `bin/recommend.py` does."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import polars as pl
from rich.console import Console

from piavae_jax.data.readers import read_table
from piavae_jax.data.readers.table import table_files
from piavae_jax.errors import UserError
from piavae_jax.serving.batch.job import MAX_PARTS, Job, Log, Shard, finish_job, input_digest, open_job, params_digest
from piavae_jax.serving.batch.output import Counts, read_counts
from piavae_jax.serving.batch.pipeline import Request
from piavae_jax.serving.batch.progress import JobProgress
from piavae_jax.serving.batch.runner import run_shard
from piavae_jax.serving.recommender import Recommender


class Options(NamedTuple):
    """What may be left as it is."""

    user_column: str = "user"
    item_column: str = "item"
    exclude_seen: bool = True
    allow: Path | None = None
    """A text file of the only items that may be recommended, an id a line."""
    deny: Path | None = None
    """A text file of items that must not be."""
    shard: Shard = Shard()
    part_rows: int = 500_000
    """Rows of the log in a part: what memory holds a few of at a time."""
    engine: str = "local"
    """`local`, this process; or `ray`, a cluster."""
    ray_address: str | None = None
    """Of a Ray cluster to join; None starts one on this machine."""


def recommend_all(
    run: Path, source: Path, output: Path, *, k: int, options: Options | None = None, console: Console
) -> Counts | None:
    """Write the k best items of every user of a log, as `Recommender.recommend` gives them, in parts.

    Called again it goes on where it stopped, killed or not. Several processes, on any machines, may each do a shard of
    one job in one folder.

    Args:
      run: a run folder.
      source: the log: a Parquet file, a folder of them, or a CSV or TSV file, a row for each interaction in any order.
      output: the job's folder. It gets `part-*.parquet` with the columns of `recommend`, and at last `_SUCCESS`.
      k: items a user.
      options: the rest; by default nothing special.
      console: where to print.

    Returns:
      What the whole job has gone through, or None while other shards have parts to do.

    Raises:
      UserError: the run, the log, an id or a list is malformed, or the folder holds another job.
    """
    started, options = time.monotonic(), options or Options()
    with _engine(options) as do_parts:
        recommender = Recommender.from_run(run)
        k = recommender.check_k(k)
        lists = {"allow": _read_list(options.allow, recommender), "deny": _read_list(options.deny, recommender)}
        request = Request(k, recommender.restriction(exclude_seen=options.exclude_seen, **lists))
        log = _read_log(source, recommender, options)
        settings = {
            "model": params_digest(recommender.params),
            "vocabulary": recommender.run.vocabulary_digest,
            "input": input_digest(table_files(source)),
            "columns": [options.user_column, options.item_column],
            "k": k,
            "exclude_seen": options.exclude_seen,
            **{name: None if ids is None else ids.to_list() for name, ids in lists.items()},
        }
        job = open_job(output, settings, parts=_count_parts(log.rows, options.part_rows))
        with JobProgress(console, rows=log.rows) as progress:
            do_parts(recommender, log, job, options.shard, request, progress)
    seconds = time.monotonic() - started
    console.print(f"{progress.users:,} users in {seconds:.0f} s, start and reading included", highlight=False)
    return _conclude(job, console)


def _read_log(source: Path, recommender: Recommender, options: Options) -> Log:
    # A worker of a cluster may be in another folder.
    events = read_table(
        source.absolute() if options.engine == "ray" else source,
        user_column=options.user_column,
        item_column=options.item_column,
    ).events
    if recommender.items.ids.dtype == pl.String:  # a text file whose ids are all numbers
        events = events.with_columns(pl.col("item").cast(pl.String))
    return Log(events, int(events.select(pl.len()).collect(engine="streaming").item()))


@contextmanager
def _engine(options: Options) -> Iterator[Callable[..., None]]:
    """What does a shard's parts, for the time of the block; a cluster forks, so it starts before JAX has threads."""
    if options.engine == "local":
        yield run_shard
        return
    try:
        from piavae_jax.serving.batch.ray_engine import cluster, run_on_cluster
    except ModuleNotFoundError as error:
        raise UserError(f"--engine ray needs {error.name}: pip install 'piavae-jax[ray]'") from error
    with cluster(options.ray_address):
        yield run_on_cluster


def _count_parts(rows: int, part_rows: int) -> int:
    if not part_rows >= 1:
        raise UserError(f"--part-rows must be at least 1, got {part_rows}: pass e.g. 500000")
    parts = -(-rows // part_rows)
    if parts > MAX_PARTS:
        least = -(-rows // MAX_PARTS)
        raise UserError(f"--part-rows must be at least {least:,} for {rows:,} rows, got {part_rows:,}: raise it")
    return parts


def _conclude(job: Job, console: Console) -> Counts | None:
    """Mark a job whose parts are all there; of several processes the last one does."""
    left = int((~job.done()).sum())
    if left:
        console.print(
            f"{left} of {job.parts} parts in {job.output} are for other shards to do", highlight=False, markup=False
        )
        return None
    counts = read_counts([job.part_file(part) for part in range(job.parts)])
    finish_job(job, counts._asdict())
    for line in _describe(counts):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"written to  {job.output}/part-*.parquet", highlight=False, markup=False, soft_wrap=True)
    return counts


def _describe(counts: Counts) -> Sequence[str]:
    lines = [
        f"{counts.recommendations:,} recommendations to {counts.users:,} users from {counts.interactions:,} "
        "distinct interactions"
    ]
    if counts.unknown_interactions:
        lines.append(f"{counts.unknown_interactions:,} interactions dropped: the model does not know the item")
    if counts.popular_users:
        lines.append(f"{counts.popular_users:,} users have no known item and got the most popular ones")
    return lines


def _read_list(file: Path | None, recommender: Recommender) -> pl.Series | None:
    if file is None:
        return None
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): pass a text file with an item id a line") from error
    ids, dtype = pl.Series("item", filter(None, lines), dtype=pl.String), recommender.items.ids.dtype
    try:
        return ids.cast(dtype).unique().sort()
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{file} must hold item ids of type {dtype}, one a line, got others: mend it") from error
