"""How fast everyone in a log is recommended to, beside the least that it costs and beside a plain loop.

    python bench/score.py --users 200000            # also 2000000; --items 4000; --k 100; --rounds 3

Ours is `bin/recommend.py`, a process of its own from start to end: it reads a log whose rows are in random order, 50 a
user on average, groups them, scores, ranks to top-k and writes Parquet. The model is a Multi-VAE, I-600-200-600-I, with
random weights and the items' popularity in its output bias. The floor is the dense products of the forward pass and the
selection of the k best, overlapped as ours are, and nothing else: no log, no rows, no files. The reference
(`dense_recommendation.py`) is a plain loop in PyTorch, or in NumPy where PyTorch is not installed. Floor and reference
do a sample of the users; all take turns, and ratios are medians over rounds. CPU time, which a busy machine changes
less, is that of the last round.
"""

import argparse
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dense_recommendation as reference
import harness
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from piavae_jax.config import ExperimentConfig
from piavae_jax.data.cleaning import clean
from piavae_jax.data.generator import generate
from piavae_jax.data.prepared import load_prepared, write_prepared
from piavae_jax.data.protocol import StrongGeneralization
from piavae_jax.data.shapes import Shape
from piavae_jax.linear import product
from piavae_jax.serving import Recommender
from piavae_jax.serving.ranking import rank_rows
from piavae_jax.training import run_folder
from piavae_jax.training.checkpoint import Checkpoints
from piavae_jax.training.recipes import build_recipe
from piavae_jax.training.state import init_state

MEAN_HISTORY = 50
_FILE_ROWS = 4_000_000
_BATCH = 512


def make_run(folder: Path, num_items: int) -> Path:
    """A run of a Multi-VAE that was not trained."""
    shape = Shape(users=3_000, items=num_items, interactions=150_000)
    log = generate(shape, seed=0).interactions
    write_prepared(StrongGeneralization(100).split(clean(log), name="bench"), folder / "data")
    config = ExperimentConfig(name="bench-score")
    config.data.path = str(folder / "data")
    run = run_folder.create(folder / "run", config, load_prepared(folder / "data"))
    with Checkpoints(run.path) as checkpoints:
        state = init_state(build_recipe(config, run.catalogue), config)
        params = dict(state.params)
        popularity = jnp.log1p(jnp.asarray(run.vocabulary["train_users"].to_numpy(), jnp.float32))
        output = params["decoder"]["Linear_1"]
        params["decoder"] = params["decoder"] | {"Linear_1": output | {"bias": output["bias"] + popularity}}
        checkpoints.save(state, params)
    return run.path


def write_log(folder: Path, items: pl.Series, *, users: int) -> None:
    """`users` times 50 interactions in random order, as Parquet files: active users and popular items more often."""
    rng = np.random.default_rng(0)
    activity = np.cumsum(rng.lognormal(sigma=0.7, size=users))
    popularity = np.cumsum(1.0 / (np.arange(len(items)) + 20.0))
    folder.mkdir()
    for number, start in enumerate(range(0, users * MEAN_HISTORY, _FILE_ROWS)):
        count = min(_FILE_ROWS, users * MEAN_HISTORY - start)
        user = np.searchsorted(activity, rng.random(count) * activity[-1])
        item = np.searchsorted(popularity, rng.random(count) * popularity[-1])
        ids = user.astype(np.int64) * 7_919 + 1
        pl.DataFrame({"user": ids, "item": items.gather(item)}).write_parquet(folder / f"log-{number:04}.parquet")


def make_floor(num_items: int, k: int, *, users: int) -> Callable[[], None]:
    """The dense products of the forward pass, and the k best of each row, in overlapping batches."""
    draw = jax.random.split(jax.random.key(1), 4)
    shapes = ((600, 400), (200, 600), (600, num_items), (_BATCH, 600))
    *weights, features = (0.01 * jax.random.normal(key, shape) for key, shape in zip(draw, shapes, strict=True))

    @jax.jit
    def forward(weights: list[jax.Array], features: jax.Array) -> jax.Array:
        to_latent, to_hidden, to_items = weights
        means = product(features, to_latent)[:, :200]
        return product(product(means, to_hidden), to_items)

    def rank(scores: jax.Array) -> None:
        rank_rows(np.asarray(scores), k, excluded=None, penalty=None)

    def run() -> None:
        with ThreadPoolExecutor(2) as rankers:
            waiting = []
            for _ in range(users // _BATCH):
                waiting.append(rankers.submit(rank, forward(weights, features)))
                if len(waiting) == 4:
                    waiting.pop(0).result()
            for last in waiting:
                last.result()

    return run


def make_rank(params: Any, k: int) -> tuple[str, reference.Rank]:
    """The reference's name and how it ranks."""
    numpy_params = jax.tree.map(np.asarray, params)
    try:
        return "PyTorch", reference.torch_rank(numpy_params, k)
    except ImportError:
        harness.console.print("PyTorch is not installed: the reference is NumPy (pip install torch)")
        return "NumPy", reference.numpy_rank(numpy_params, k)


def benchmark(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure and return the figures."""
    run = make_run(folder, arguments.items)
    recommender = Recommender.from_run(run)
    items, sample = recommender.items.ids, min(arguments.sample, arguments.users)
    write_log(folder / "log", items, users=arguments.users)
    write_log(folder / "sample", items, users=sample)
    peaks: list[float] = []
    cpu: dict[str, float] = {}

    def ours() -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        shutil.rmtree(folder / "recs", ignore_errors=True)
        flags = ["--run", run, "--input", folder / "log", "--output", folder / "recs", "--k", arguments.k]
        command = [sys.executable, harness.ROOT / "bin" / "recommend.py", *flags]
        peaks.append(harness.run_process([str(word) for word in command]))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu["ours"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    name, rank = make_rank(recommender.params, arguments.k)

    def loop() -> int:
        return reference.recommend(folder / "sample", folder / "reference.parquet", items, rank)

    products_and_top_k = make_floor(len(items), arguments.k, users=sample)

    def floor() -> None:
        before = time.process_time()
        products_and_top_k()
        cpu["floor"] = time.process_time() - before

    floor()
    loop_users = loop()
    systems = {"ours": ours, "floor": floor, "reference": loop}
    seconds = harness.interleave(systems, rounds=arguments.rounds, warm_up=False)
    users = pl.scan_parquet(folder / "recs" / "*.parquet").select(pl.col("user_id").n_unique()).collect().item()
    compare(folder, arguments.k)
    counts = {"ours": users, "floor": sample // _BATCH * _BATCH, "reference": loop_users}
    each = {system: seconds[system] / count for system, count in counts.items()}
    return {
        "users_per_s": 1.0 / float(np.median(each["ours"])),
        "floor_users_per_s": 1.0 / float(np.median(each["floor"])),
        "reference_users_per_s": 1.0 / float(np.median(each["reference"])),
        "ratio_floor": harness.ratio(each["ours"], each["floor"]),
        "ratio_reference": harness.ratio(each["reference"], each["ours"]),
        "cpu_us_a_user": 1e6 * cpu["ours"] / counts["ours"],
        "floor_cpu_us_a_user": 1e6 * cpu["floor"] / counts["floor"],
        "reference": name,
        "peak_rss_mb": max(peaks),
        "users": users,
        "items": len(items),
        "recommendation_bytes_a_user": sum(file.stat().st_size for file in (folder / "recs").iterdir()) / users,
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }


def compare(folder: Path, k: int) -> None:
    """Check that ours and the reference recommend the same to the sample's users.

    Raises:
      AssertionError: less than 99.9 % of the recommendations are in both; scores that round to equal ones may differ.
    """
    run, log = folder / "run", pl.read_parquet(folder / "sample")
    theirs = pl.read_parquet(folder / "reference.parquet")
    ours = Recommender.from_run(run).recommend(log, k)
    shared = ours.join(theirs, on=["user_id", "item_id"], how="semi").height
    assert ours.height == theirs.height, (ours.height, theirs.height)
    assert shared >= 0.999 * ours.height, (shared, ours.height)


def main() -> None:
    """Parse the flags, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=4_000)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--sample", type=int, default=20_480, help="users of the floor and of the reference")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-score-") as folder:  # 2 million users need 3 GB in $TMPDIR
        result = benchmark(arguments, Path(folder))
    rows = [
        (f"{result['reference']}, a loop over dense rows", result["reference_users_per_s"], result["ratio_reference"]),
        ("bin/recommend.py, log to files", result["users_per_s"], 1.0),
        ("floor: products and top-k", result["floor_users_per_s"], 1.0 / result["ratio_floor"]),
    ]
    title = (
        f"recommendation, {result['users']:,} users, {result['items']:,} items, top-{arguments.k}, {result['device']}"
    )
    harness.table(title, ("", "users/s", "times ours"), rows)
    harness.finish("score", vars(arguments), result)


if __name__ == "__main__":
    main()
