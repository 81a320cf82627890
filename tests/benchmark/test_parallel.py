"""Several runs at a time give what runs one after the other give, in an order that fused systems can use."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import fake_system

from piavae_jax.benchmark import parallel
from piavae_jax.benchmark.parallel import leave_device, run_systems_at_once
from piavae_jax.benchmark.plan import Plan, resolve
from piavae_jax.benchmark.records import read_record, read_records
from piavae_jax.benchmark.registry import SYSTEMS
from piavae_jax.benchmark.runner import run_systems
from piavae_jax.benchmark.time_left import Job
from piavae_jax.errors import UserError


@pytest.fixture
def run(dataset, tmp_path, console):
    """Runs systems two at a time, and returns their records and what was printed."""

    def run_named(models, *, seeds=1, ablation=None):
        plan = Plan(dataset.path, tmp_path / "out", models, ablation)
        plan.out.mkdir(exist_ok=True)
        run_systems_at_once(resolve(plan).systems, plan, seeds=seeds, processes=2, console=console)
        return read_records(plan.out), console.file.getvalue()

    return run_named


VARIANTS = "{'a': small, 'b': {**small, 'mask.keep_prob': 0.7}}"


def declare(folder, body, variants=VARIANTS):
    """An ablation of a model that costs little."""
    file = folder / "ablation.py"
    small = "{'training.epochs': 1, 'training.devices': 1, 'model.hidden': (16,), 'model.latent_dim': 6}"
    file.write_text(
        f"import os, signal, time\nfrom piavae_jax.benchmark import ablation, registry\nsmall = {small}\n"
        f"base = registry.SYSTEMS['popularity']._replace(name='multidae')\n"
        f"ablation.SYSTEMS = {{'multidae': base}}\n{body}\n"
        "def get_ablation():\n"
        f"    return ablation.Ablation('multidae', {variants})\n"
    )
    return file


def test_runs_at_a_time_are_the_runs_one_by_one(run, dataset, tmp_path, console, monkeypatch):
    monkeypatch.setattr("piavae_jax.benchmark.ablation.SYSTEMS", SYSTEMS)  # the file below sets it
    file = declare(tmp_path, "")
    records, printed = run("all", seeds=2, ablation=file)
    alone = tmp_path / "alone"
    run_systems(resolve(Plan(dataset.path, alone, "all", file)).systems, dataset, alone, seeds=2, console=console)
    assert [(record.system, record.seed) for record in records] == [
        ("multidae", 0), ("multidae-a", 0), ("multidae-a", 1), ("multidae-b", 0), ("multidae-b", 1),
    ]  # fmt: skip
    for ours, theirs in zip(records, read_records(alone), strict=True):
        assert (ours.system, ours.baseline) == (theirs.system, theirs.baseline)
        np.testing.assert_array_equal(ours.outcome.test["ndcg@100"], theirs.outcome.test["ndcg@100"])
    assert sorted(line.partition(" ")[0] for line in printed.splitlines() if line[0].isdigit()) == [
        "1/5", "2/5", "3/5", "4/5", "5/5",
    ]  # fmt: skip
    assert printed.count("    validation nDCG@100 .") == 5
    assert "left)" in printed


def test_two_runs_are_made_at_a_time_each_on_its_cores(run, tmp_path, monkeypatch):
    monkeypatch.setattr("piavae_jax.benchmark.ablation.SYSTEMS", SYSTEMS)
    body = (
        "def meet(data, folder, seed, console):\n"
        "    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else []\n"
        "    (folder.parent / f'{seed}.txt').write_text(str(cores))\n"
        "    while len(list(folder.parent.glob('*.txt'))) < 2: time.sleep(0.01)\n"
        "    raise MemoryError('met')\n"
        "base = base._replace(run=meet, seeds=True)\nablation.SYSTEMS = {'multidae': base}"
    )
    _, printed = run("all", seeds=2, ablation=declare(tmp_path, body, variants={}))
    assert printed.count("failed: MemoryError: met") == 2
    shares = [json.loads((tmp_path / "out" / "multidae" / f"{seed}.txt").read_text()) for seed in (0, 1)]
    if hasattr(os, "sched_getaffinity"):
        assert sorted(shares) == sorted(map(sorted, parallel._shares_of_cores(2)))


def test_a_process_that_dies_while_nobody_waits_costs_one_line(run, tmp_path, monkeypatch):
    def slowly(folder):
        time.sleep(1.0)  # the other process dies meanwhile
        return read_record(folder)

    monkeypatch.setattr("piavae_jax.benchmark.ablation.SYSTEMS", SYSTEMS)
    monkeypatch.setattr(parallel, "read_record", slowly)
    body = (
        "def some_die(data, folder, seed, console):\n"
        "    time.sleep(0.5 * seed)\n"
        f"    if seed and os.getpid() != {os.getpid()}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    raise MemoryError\n"
        "base = base._replace(run=some_die, seeds=True)\nablation.SYSTEMS = {'multidae': base}"
    )
    with pytest.raises(UserError, match="one of 2 processes was killed"):
        run("all", seeds=3, ablation=declare(tmp_path, body, variants={}))


def test_what_is_done_is_passed_over(run, tmp_path):
    run("popularity,ease")
    _, printed = run("popularity,ease")
    assert "2 of 2 runs are done already" in printed
    assert printed.count("validation nDCG@100") == 2


def test_a_killed_process_costs_one_line(run, tmp_path, monkeypatch):
    monkeypatch.setattr("piavae_jax.benchmark.ablation.SYSTEMS", SYSTEMS)
    body = (
        f"def killed(*_):\n    os.kill(os.getpid(), signal.SIGKILL) if os.getpid() != {os.getpid()} else None\n"
        "base = base._replace(run=killed)\nablation.SYSTEMS = {'multidae': base}"
    )
    with pytest.raises(UserError, match=r"one of 2 processes was killed.*smaller --processes needs less"):
        run("all", ablation=declare(tmp_path, body))


def test_a_refusal_ends_the_others(run, tmp_path, monkeypatch):
    monkeypatch.setattr("piavae_jax.benchmark.ablation.SYSTEMS", SYSTEMS)
    body = (
        "def refused(*_):\n    raise ablation.UserError('data must be better')\n"
        "base = base._replace(run=refused)\nablation.SYSTEMS = {'multidae': base}"
    )
    with pytest.raises(UserError, match="data must be better"):
        run("all", ablation=declare(tmp_path, body))
    assert not parallel.multiprocessing.active_children()


def is_alive(process):
    state = Path(f"/proc/{process}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_ended_command_leaves_no_process(dataset, tmp_path, number):
    body = (
        "def sleep(data, folder, *_):\n    (folder / 'process').write_text(str(os.getpid()))\n    time.sleep(100)\n"
        "base = base._replace(run=sleep)\nablation.SYSTEMS = {'multidae': base}"
    )
    file, out = declare(tmp_path, body), tmp_path / "out"
    flags = ["--data", dataset.path, "--ablation", file, "--processes", "2", "--out", out]
    command = subprocess.Popen(
        [sys.executable, Path(__file__).parents[2] / "bin" / "benchmark.py", *map(str, flags)],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    written = out / "multidae" / "seed-0" / "process"
    try:
        assert within(180, lambda: written.exists() and written.read_text())
        process = int(written.read_text())
        assert is_alive(process)
        os.killpg(command.pid, signal.SIGINT) if number == signal.SIGINT else command.kill()
        _, errors = command.communicate(timeout=60)
    finally:
        command.kill()
    assert within(60, lambda: not is_alive(process))
    if number == signal.SIGINT:  # which a terminal sends to all processes
        assert (command.returncode, errors) == (130, "interrupted\n")


def within(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_a_fused_system_waits_for_what_it_fuses(tmp_path):
    linear, model = fake_system("linear", seeds=False), fake_system("model")
    fused = fake_system("fused")._replace(needs=("linear", "model"))
    jobs = [Job(fused, 0), Job(linear, 0), Job(model, 0), Job(fused, 1), Job(model, 1)]

    def ready(todo, running=(), room=9):
        return [(job.system.name, job.seed) for job in parallel._ready(todo, running, room=room)]

    assert ready(jobs) == [("linear", 0), ("model", 0), ("model", 1)]
    assert ready(jobs, room=2) == [("linear", 0), ("model", 0)]
    assert ready([jobs[0], jobs[3]], [jobs[4]]) == [("fused", 0)]
    assert ready([jobs[0], jobs[3]], [jobs[1]]) == []
    assert set(SYSTEMS["fusion_both"].needs) == {"edlae_weighted", "warpvae_pia", "recvae_pia"}


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 6, 9}, raising=False)
    assert parallel._shares_of_cores(2) == [{3, 6}, {5, 9}]
    assert parallel._shares_of_cores(3) == [{3, 9}, {5}, {6}]
    assert parallel._shares_of_cores(5) == [{3}, {5}, {6}, {9}, {3}]


def test_a_gpu_and_the_threads_are_shared_unless_the_user_has_said_how(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(parallel, "_shares_of_cores", lambda _: [{0, 2}, {1}])
    leave_device(1)
    assert os.environ == {}
    leave_device(4)
    assert os.environ.pop("XLA_PYTHON_CLIENT_PREALLOCATE") == "false"
    with parallel._shares(4):
        assert os.environ == {"XLA_CLIENT_MEM_FRACTION": "0.225", "OPENBLAS_NUM_THREADS": "2"}
    assert os.environ == {}
    os.environ |= {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.1", "OPENBLAS_NUM_THREADS": "7"}
    with parallel._shares(4):
        assert os.environ == {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.1", "OPENBLAS_NUM_THREADS": "7"}
