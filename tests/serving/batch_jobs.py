"""A log, and the batch job that recommends to its users, small enough for many runs."""

import io

import numpy as np
import polars as pl
from rich.console import Console
from tiny_runs import NUM_ITEMS

from piavae_jax.serving.batch.command import Options, recommend_all

USERS, K, PART_ROWS = 60, 5, 100


def random_log(*, users=USERS, seed=0):
    """Interactions in random order, with repeats, unknown items and two users who have nothing else."""
    rng = np.random.default_rng(seed)
    user = rng.integers(2, users, 10 * users)
    item = [f"i{number}" for number in rng.integers(0, NUM_ITEMS + 4, len(user))]
    table = pl.DataFrame({"when": 0, "user": [*(1000 + user), 1000, 1001], "item": [*item, "new", "i999"]})
    return table.sample(fraction=1.0, shuffle=True, seed=seed)


def run_job(run, source, output, *, k=K, console=None, **options):
    options = Options(**{"part_rows": PART_ROWS} | options)
    console = console or Console(file=io.StringIO(), width=160)
    counts = recommend_all(run, source, output, k=k, options=options, console=console)
    return counts, console.file.getvalue()


def parts_of(output):
    return {path.name: path.read_bytes() for path in output.glob("part-*.parquet")}


def read_all(output):
    return pl.read_parquet(output / "*.parquet").sort("user_id", "rank")
