"""What one process does of a job: lay its share of the log out on disk, then go through it part by part."""

from pathlib import Path

import numpy as np
import polars as pl

from piavae_jax.serving.batch.job import Job, Log, Shard, workspace
from piavae_jax.serving.batch.pipeline import Listener, Part, Pipeline, Request
from piavae_jax.serving.batch.spill import Spill, write_spill
from piavae_jax.serving.recommender import Recommender


def run_shard(recommender: Recommender, log: Log, job: Job, shard: Shard, request: Request, listener: Listener) -> None:
    """Do what is left of a shard's parts; each appears whole or not at all, and one that is there is left alone.

    Args:
      recommender: the model.
      log: the log.
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
            spill = _lay_out(log.events, folder / "spill", recommender, left, listener)
            parts = [int(part) for part in np.flatnonzero(left)]
            listener.parts_started(parts=len(parts), interactions=sum(map(spill.interactions, parts)))

            def read(part: int) -> Part:
                return Part(part, spill.read(part), spill.interactions(part))

            Pipeline(recommender, read, job, request, folder, listener).run(parts)


def _lay_out(
    events: pl.LazyFrame, folder: Path, recommender: Recommender, own: np.ndarray, listener: Listener
) -> Spill:
    found = Spill.find(folder, own)
    if found is not None:
        return found
    write_spill(events, folder, items=recommender.items, parts=len(own), own=own, listener=listener.rows_read)
    return Spill(folder)
