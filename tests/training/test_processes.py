"""Several processes of one device each: the numbers of one process, and what happens when one of them dies."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import chex
import numpy as np
import one_device
import polars as pl
import pytest
from tiny_runs import tiny_config, tiny_dataset

from piavae_jax.data.prepared import load_prepared, write_prepared
from piavae_jax.training import run_folder
from piavae_jax.training.fit import fit
from piavae_jax.training.restore import restore
from piavae_jax.training.results import evaluate_run

ROOT = Path(__file__).parents[2]
FOLDERS = [str(Path(__file__).parent), str(ROOT / "tests")]  # of this file and of `tiny_runs`
CONFIG = """
import sys
sys.path[:0] = {folders!r}
from test_processes import sgd_config

def get_config():
    return sgd_config({data!r})
"""
ENVIRONMENT = {
    **one_device.ENVIRONMENT,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
TOLERANCE = 1e-5
EPOCHS = 40


def sgd_config(data):
    config = tiny_config(data)
    config.optimizer.name, config.optimizer.learning_rate = "sgd", 0.05
    config.pia.max_weight = 4.0
    config.training.devices, config.training.epochs = 0, EPOCHS
    return config


many_cores = pytest.mark.skipif((os.cpu_count() or 1) < 4, reason="four processes want four cores")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data and a config file."""
    root = tmp_path_factory.mktemp("processes")
    write_prepared(tiny_dataset(), root / "data")
    (root / "config.py").write_text(CONFIG.format(folders=FOLDERS, data=str(root / "data")))
    return root


def train_alone(folder, workdir):
    config = sgd_config(str(folder / "data"))
    config.workdir, config.training.devices = str(folder / workdir), 1
    config.training.checkpoint_seconds = 30
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


@pytest.fixture(scope="module")
def killed(folder):
    """What a job of two processes, one of which was killed, ended with; its run is in `killed`."""
    job = start(folder, "killed", "--config.training.interactions=stream", processes=2)
    metrics = folder / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") > 1) and time.monotonic() < deadline:
        time.sleep(0.01)
    job[1].kill()
    survivor, _ = finish(job)
    for number in (1, 2, 4):
        shutil.copytree(folder / "killed", folder / f"on-{number}")
    return survivor


@pytest.fixture(scope="module")
def expected(folder):
    return train_alone(folder, "alone")


def test_a_lost_process_ends_the_job_with_a_message(folder, killed):
    status, _, errors = killed
    assert status == 75, errors
    assert "another process of this job is gone" in errors
    assert "goes on from the last checkpoint" in errors
    assert 0 < len(run_folder.read_metrics(run_folder.load(folder / "killed"))) < EPOCHS


def test_one_process_goes_on_where_two_stopped(folder, killed, expected):
    train_alone(folder, "on-1")
    assert_same_run(folder / "on-1", expected)


@pytest.mark.parametrize(("processes", "interactions"), [(2, "stream"), pytest.param(4, "device", marks=many_cores)])
def test_processes_go_on_and_end_as_one_process_does(folder, killed, expected, processes, interactions):
    workdir = f"on-{processes}"
    options = [f"--config.training.interactions={interactions}", "--config.training.checkpoint_seconds=30"]
    job = finish(start(folder, workdir, *options, processes=processes))
    assert [status for status, _, _ in job] == [0] * processes, job
    assert_same_run(folder / workdir, expected)
    assert "test users of tiny" in job[0][1]
    assert all("test users" not in said for _, said, _ in job[1:])
    values = pl.read_parquet(folder / workdir / "results" / "test_users.parquet")
    dataset, run = load_prepared(folder / "data"), restore(folder / "alone")
    alone, _ = evaluate_run(run.run, run.score, run.params, dataset)
    np.testing.assert_allclose(values["ndcg@100"], alone["ndcg@100"], rtol=TOLERANCE)


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
