"""Several processes of one device each: the numbers of one process, and what happens when one of them dies."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import chex
import numpy as np
import polars as pl
import pytest
from tiny_runs import tiny_config, tiny_dataset

from piavae_jax.data.prepared import load_prepared, write_prepared
from piavae_jax.training import run_folder
from piavae_jax.training.fit import fit
from piavae_jax.training.restore import restore

ROOT = Path(__file__).parents[2]
CONFIG = """
import sys
sys.path.insert(0, {folder!r})
from test_processes import sgd_config

def get_config():
    return sgd_config({data!r})
"""
ENVIRONMENT = {
    **os.environ,
    "XLA_FLAGS": "",
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
}
TOLERANCE = 1e-5


def sgd_config(data):
    config = tiny_config(data)
    config.optimizer.name, config.optimizer.learning_rate = "sgd", 0.05
    config.pia.max_weight = 4.0
    config.training.devices = 0
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data and a config file."""
    root = tmp_path_factory.mktemp("processes")
    write_prepared(tiny_dataset(), root / "data")
    (root / "config.py").write_text(CONFIG.format(folder=str(Path(__file__).parent), data=str(root / "data")))
    return root


def train_alone(folder, workdir, **training):
    config = sgd_config(str(folder / "data"))
    config.workdir, config.training.devices = str(folder / workdir), 1
    for name, value in training.items():
        setattr(config.training, name, value)
    return fit(config, load_prepared(folder / "data"), folder / workdir)


def start(folder, workdir, *arguments, processes):
    """The processes of a job, started one by one as on several hosts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"--coordinator=127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, str(ROOT / "bin" / "train.py"), "--config=config.py", f"--config.workdir={workdir}"]
    place = [coordinator, f"--process_count={processes}", *arguments]
    return [
        subprocess.Popen(
            [*command, *place, f"--process_id={number}"],
            cwd=folder,
            env=ENVIRONMENT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(processes)
    ]


def finish(job):
    """Status, output and errors of each process."""
    spoken = [process.communicate(timeout=300) for process in job]
    return [(process.returncode, *said) for process, said in zip(job, spoken, strict=True)]


def assert_same_run(workdir, expected):
    """The run ended with the parameters and metrics of another one, to the last rounding."""
    trained = restore(workdir)
    chex.assert_trees_all_close(trained.params, expected.params, atol=TOLERANCE, rtol=TOLERANCE)
    records = run_folder.read_metrics(trained.run)
    for ours, theirs in zip(records, expected.records, strict=True):
        assert (ours["epoch"], ours["best_epoch"]) == (theirs["epoch"], theirs["best_epoch"])
        for name in ("loss", "nll", "kl", "anchor", "validation/ndcg@100", "validation/recall@20"):
            np.testing.assert_allclose(ours[name], theirs[name], rtol=TOLERANCE, atol=TOLERANCE)


def test_a_run_goes_on_with_any_number_of_processes_and_ends_as_one(folder):
    expected = train_alone(folder, "alone")
    job = finish(
        start(folder, "run", "--config.training.interactions=stream", "--config.training.epochs=3", processes=2)
    )
    assert [status for status, _, _ in job] == [0, 0], job
    assert "test users of tiny" in job[0][1]
    assert "test users" not in job[1][1]
    for copy in ("one", "four"):
        shutil.copytree(folder / "run", folder / copy)
    train_alone(folder, "one")
    job = finish(start(folder, "four", "--quiet", processes=4))
    assert [status for status, _, _ in job] == [0] * 4, job
    for copy in ("one", "four"):
        assert_same_run(folder / copy, expected)
    summary = json.loads((folder / "four" / "results" / "test.json").read_text())
    assert summary["ndcg@100"]["users"] == pl.read_parquet(folder / "four" / "results" / "test_users.parquet").height


def test_a_killed_process_ends_the_job_and_the_same_command_goes_on(folder):
    options = {"epochs": 40}
    arguments = [f"--config.training.{name}={value}" for name, value in options.items()]
    expected = train_alone(folder, "left-alone", **options)
    job = start(folder, "killed", *arguments, processes=2)
    metrics = folder / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") > 1) and time.monotonic() < deadline:
        time.sleep(0.01)
    job[1].kill()
    (status, _, errors), _ = finish(job)
    assert status == 75, errors
    assert "another process of this job is gone" in errors
    assert "goes on from the last checkpoint" in errors
    assert 0 < len(run_folder.read_metrics(run_folder.load(folder / "killed"))) < options["epochs"]
    job = finish(start(folder, "killed", *arguments, processes=2))
    assert [status for status, _, _ in job] == [0, 0], job
    assert_same_run(folder / "killed", expected)


SCRIPT = """
import sys
import jax
import numpy as np
from jax.sharding import AxisType
from piavae_jax import UserError, distributed
from piavae_jax.data.csr import CSR
from piavae_jax.training.feed import stream_batches

coordinator, number = sys.argv[1], int(sys.argv[2])
distributed.connect(coordinator, 2, number)
mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))

assert distributed.is_primary() == (number == 0)
assert distributed.agreed(10.0 + number) == 10.0
assert distributed.primary_first(lambda: "first", lambda: "then") == ("first", "then")[number]
def refuse():
    raise UserError("the rule of process 0")
try:
    distributed.primary_first(refuse, lambda: None)
except UserError as error:
    print(error)

key = distributed.replicate(jax.random.key(3), mesh)
assert jax.random.uniform(key) == jax.random.uniform(jax.random.key(3))

# The rows of the other process's users are not there: reading them would fail.
order = np.arange(8, dtype=np.int32).reshape(2, 4)
own = order[:, 2 * number : 2 * number + 2]
class OwnRows(np.ndarray):
    def __getitem__(self, rows):
        assert np.isin(rows, [own, own + 1]).all(), rows
        return np.asarray(self)[rows]
indptr = (3 * np.arange(9)).view(OwnRows)
rows = CSR(indptr, np.arange(24, dtype=np.int32))
(packed,) = stream_batches(rows, mesh)([order], 6)
assert packed.users.shape == (2, 4) and packed.items.shape == (2, 12)
(shard,) = packed.items.addressable_shards
np.testing.assert_array_equal(shard.data, 6 * number + 12 * np.arange(2)[:, None] + np.arange(6))
"""


def test_processes_agree_and_read_their_own_rows(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    job = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, address, str(number)],
            env=ENVIRONMENT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(2)
    ]
    for status, said, errors in finish(job):
        assert status == 0, errors
        assert "the rule of process 0" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--coordinator=127.0.0.1:1"], "--coordinator, --process_count and --process_id go together"),
        (["--distributed"], "the processes of the job cannot be detected"),
    ],
)
def test_a_process_without_a_place_is_refused(folder, arguments, message):
    command = [sys.executable, str(ROOT / "bin" / "train.py"), "--config=config.py", *arguments]
    ended = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert message in ended.stderr
