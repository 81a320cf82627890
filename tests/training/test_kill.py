"""A run killed with SIGKILL, again and again, ends with the bits of one that was left alone."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import polars as pl
from tiny_runs import tiny_dataset

from piavae_jax.data.prepared import write_prepared
from piavae_jax.training import run_folder
from piavae_jax.training.checkpoint import Checkpoints
from piavae_jax.training.recipes import build_recipe
from piavae_jax.training.restore import restore
from piavae_jax.training.state import init_state

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("PIAVAE_KILLS", "2"))
SEED = int(os.environ.get("PIAVAE_KILL_SEED", "0"))
MEASURED = ("train_seconds", "validation_seconds", "users_per_second")
CONFIG = """
import sys
sys.path.insert(0, {folder!r})
from tiny_runs import tiny_config

def get_config():
    config = tiny_config({data!r}, checkpoint_seconds=0)
    config.training.epochs = 24
    return config
"""


def start(tmp_path, workdir):
    command = [
        sys.executable,
        ROOT / "bin" / "train.py",
        "--config=config.py",
        f"--config.workdir={workdir}",
        "--quiet",
    ]
    return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def lines(path):
    return path.read_text().count("\n") if path.exists() else 0


def kill_at_a_random_moment(process, metrics, generator):
    """Wait for the first new epoch or, one time in four, not even that; then a little longer; then kill."""
    before = lines(metrics)
    deadline = time.monotonic() + (generator.uniform(0, 4) if generator.random() < 0.25 else 120)
    while process.poll() is None and lines(metrics) <= before and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(generator.uniform(0, 1))
    process.kill()
    process.communicate()


def final_state(workdir):
    run = run_folder.load(workdir)
    with Checkpoints(workdir, read_only=True) as checkpoints:
        state, _ = checkpoints.restore(init_state(build_recipe(run.config, run.catalogue), run.config))
    return jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf, state
    )


def metrics_of(workdir):
    records = run_folder.read_metrics(run_folder.load(workdir))
    return [{name: value for name, value in record.items() if name not in MEASURED} for record in records]


def test_a_killed_run_ends_with_the_bits_of_one_left_alone(tmp_path):
    write_prepared(tiny_dataset(), tmp_path / "data")
    (tmp_path / "config.py").write_text(
        CONFIG.format(folder=str(Path(__file__).parents[1]), data=str(tmp_path / "data"))
    )
    alone = start(tmp_path, "alone")
    _, errors = alone.communicate(timeout=300)
    assert alone.returncode == 0, errors.decode()
    generator = random.Random(SEED)
    for _ in range(KILLS):
        kill_at_a_random_moment(start(tmp_path, "killed"), tmp_path / "killed" / "metrics.jsonl", generator)
    last = start(tmp_path, "killed")
    _, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors.decode()
    chex.assert_trees_all_equal(final_state(tmp_path / "killed"), final_state(tmp_path / "alone"))
    chex.assert_trees_all_equal(restore(tmp_path / "killed").params, restore(tmp_path / "alone").params)
    assert metrics_of(tmp_path / "killed") == metrics_of(tmp_path / "alone")
    results = [pl.read_parquet(tmp_path / run / "results" / "test_users.parquet") for run in ("killed", "alone")]
    assert results[0].equals(results[1])
