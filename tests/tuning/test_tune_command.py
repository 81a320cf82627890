"""bin/tune.py as a user calls it, killed with SIGKILL and called again."""

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from tiny_runs import tiny_config, tiny_dataset

from piavae_jax.data.prepared import write_prepared
from piavae_jax.tuning.distributions import Int
from piavae_jax.tuning.options import SearchOptions
from piavae_jax.tuning.search import run_search

ROOT = Path(__file__).parents[2]
EPOCHS = 18
CONFIG = """
import sys
sys.path.insert(0, {folder!r})
from piavae_jax.tuning.distributions import Int
from tiny_runs import tiny_config

def get_config():
    config = tiny_config({data!r}, checkpoint_seconds=0)
    config.training.epochs = {epochs}
    return config

def get_space():
    return {{"seed": Int(0, 99)}}
"""


@pytest.fixture
def start(tmp_path):
    write_prepared(tiny_dataset(), tmp_path / "data")
    folder, data = str(ROOT / "tests"), str(tmp_path / "data")
    (tmp_path / "config.py").write_text(CONFIG.format(folder=folder, data=data, epochs=EPOCHS))

    def start(*flags):
        command = [sys.executable, ROOT / "bin" / "tune.py", "--config=config.py", *flags]
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def wait_for(condition, process, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def epochs_of(metrics):
    return metrics.read_text().count("\n") if metrics.exists() else 0


def test_a_killed_search_ends_as_one_left_alone(start, tmp_path):
    flags = ("--sampler=random", "--pruner=none", "--trials=2", "--root=search")
    metrics = tmp_path / "search" / "trial-001" / "metrics.jsonl"
    killed = start(*flags)
    wait_for(lambda: epochs_of(metrics) >= 3, killed)
    killed.kill()
    killed.communicate()
    assert epochs_of(metrics) < EPOCHS
    again = start(*flags)
    printed, errors = again.communicate(timeout=300)
    assert (again.returncode, errors) == (0, "")
    assert "trial 1 (2 of 2)  seed=" in printed
    assert "trial 0 (1 of 2)" not in printed
    config = tiny_config(str(tmp_path / "data"))
    config.training.epochs = EPOCHS
    options, console = SearchOptions(2, "random", "none"), Console(file=io.StringIO())
    alone = run_search(config, {"seed": Int(0, 99)}, tmp_path / "alone", options=options, console=console)
    assert (tmp_path / "search" / "trials.csv").read_text() == (tmp_path / "alone" / "trials.csv").read_text()
    assert [record.epochs for record in alone.records()] == [EPOCHS, EPOCHS]


def test_a_config_that_cannot_be_is_refused_in_one_line(start, tmp_path):
    _, errors = (command := start("--config.mask.kind=peruser")).communicate(timeout=120)
    assert command.returncode == 2
    assert errors.startswith("error: config.mask.kind must be one of ")
    assert errors.count("\n") == 1


def test_without_optuna_it_says_so_in_one_line(start, tmp_path):
    (tmp_path / "optuna.py").write_text("raise ModuleNotFoundError('No module named optuna', name='optuna')")
    code = "import runpy, sys; sys.argv[0] = 'tune.py'; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    command = [sys.executable, "-c", code, ROOT / "bin" / "tune.py", "--config=config.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == "error: tuning needs optuna; install it with: pip install 'piavae-jax[tune]'\n"
    assert not (tmp_path / "runs").exists()
