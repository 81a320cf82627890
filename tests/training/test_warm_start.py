"""bin/train.py with an empty cache of compiled programs, and with a full one."""

import subprocess
import sys
from pathlib import Path

import chex
import one_device
from tiny_runs import tiny_dataset

from piavae_jax.data.prepared import write_prepared
from piavae_jax.training import run_folder
from piavae_jax.training.restore import restore

ROOT = Path(__file__).parents[2]
MEASURED = ("train_seconds", "validation_seconds", "users_per_second")
CONFIG = """
import sys
sys.path.insert(0, {folder!r})
from tiny_runs import tiny_config

def get_config():
    config = tiny_config({data!r})
    config.training.epochs = 2
    return config
"""


def train(folder, name):
    """Train into a run folder."""
    command = [sys.executable, ROOT / "bin" / "train.py", "--config=config.py", f"--config.workdir={name}", "--quiet"]
    environment = {
        **{name: value for name, value in one_device.ENVIRONMENT.items() if name != "JAX_COMPILATION_CACHE_DIR"},
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PIAVAE_CACHE_DIR": str(folder / "cache"),
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


def records(workdir):
    return [
        {name: value for name, value in record.items() if name not in MEASURED}
        for record in run_folder.read_metrics(run_folder.load(workdir))
    ]


def test_a_warm_start_compiles_nothing_and_gives_the_same_bits(tmp_path):
    write_prepared(tiny_dataset(), tmp_path / "data")
    (tmp_path / "config.py").write_text(
        CONFIG.format(folder=str(Path(__file__).parents[1]), data=str(tmp_path / "data"))
    )
    train(tmp_path, "cold")
    compiled = sorted(tmp_path.glob("cache/*-cache"))
    assert any(entry.name.startswith("jit_run_steps-") for entry in compiled)
    train(tmp_path, "warm")
    assert sorted(tmp_path.glob("cache/*-cache")) == compiled
    assert records(tmp_path / "warm") == records(tmp_path / "cold")
    chex.assert_trees_all_equal(restore(tmp_path / "warm").params, restore(tmp_path / "cold").params)
