"""A batch job that is stopped anywhere, by an error or by SIGKILL, loses no user and repeats none."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from batch_jobs import PART_ROWS, K, parts_of, random_log, run_job

from piavae_jax import cli
from piavae_jax.errors import UserError
from piavae_jax.serving.batch import spill

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("PIAVAE_KILLS", "2"))
SEED = int(os.environ.get("PIAVAE_KILL_SEED", "0"))


@pytest.fixture(scope="module")
def expected(pia_run, log, tmp_path_factory):
    """The files of a job that was left alone."""
    output = tmp_path_factory.mktemp("recs") / "alone"
    run_job(pia_run, log, output)
    return {path.name: path.read_bytes() for path in output.iterdir()}


def fail_at(monkeypatch, owner, name, number):
    """Let the call with that number, counted from 0, of a function that writes find the disk full."""
    calls, write = iter(range(10**6)), getattr(owner, name)

    def maybe_fail(*arguments, **options):
        if next(calls) == number:
            raise OSError(28, "No space left on device")
        return write(*arguments, **options)

    monkeypatch.setattr(owner, name, maybe_fail)


@pytest.mark.parametrize(
    ("owner", "name", "number"),
    [
        (spill, "_append", 0),
        (os, "link", 0),
        (Path, "write_text", 0),
        (os, "fsync", 0),
        (os, "fsync", 1),
        *((pq.ParquetWriter, "write_table", number) for number in (0, 3, 6)),
        *((pq.ParquetWriter, "close", number) for number in (0, 6)),
        *((Path, "replace", number) for number in range(8)),
        (shutil, "rmtree", 1),
    ],
)
def test_after_a_full_disk_what_is_there_is_whole_and_the_rest_follows(
    owner, name, number, pia_run, log, expected, tmp_path, monkeypatch
):
    output = tmp_path / "recs"
    with monkeypatch.context() as patch:
        fail_at(patch, owner, name, number)
        with pytest.raises((UserError, OSError), match="No space left on device"):
            run_job(pia_run, log, output)
    assert not (output / "_SUCCESS").exists()
    there = parts_of(output)
    assert there.items() <= expected.items()
    times = {file: (output / file).stat().st_mtime_ns for file in there}
    run_job(pia_run, log, output)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == expected
    assert {file: (output / file).stat().st_mtime_ns for file in there} == times


def start(run, log, output, *, part_rows):
    command = [sys.executable, ROOT / "bin" / "recommend.py", "--run", run, "--input", log, "--output", output]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    flags = ["--k", str(K), "--part-rows", str(part_rows)]
    return subprocess.Popen([*command, *flags], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def last_change(output):
    """Of what a process makes first, its lock."""
    lock = output / ".shard-0-of-1" / "lock"
    return lock.stat().st_mtime_ns if lock.exists() else 0


def kill_at_a_random_moment(process, output, generator):
    """Wait until the process has opened the job or, one time in four, not even that; a little longer; then kill."""
    before = last_change(output)
    deadline = time.monotonic() + (generator.uniform(0, 2) if generator.random() < 0.25 else 120)
    while process.poll() is None and last_change(output) == before and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(generator.uniform(0, 0.6))
    process.kill()
    process.communicate()


def test_a_job_killed_again_and_again_ends_with_the_files_of_one_left_alone(pia_run, tmp_path):
    part_rows, generator, log = 8, random.Random(SEED), tmp_path / "log.parquet"
    random_log(users=30 * (KILLS + 1)).write_parquet(log)  # so many parts that there are some left for each kill
    run_job(pia_run, log, tmp_path / "alone", part_rows=part_rows)
    expected = {path.name: path.read_bytes() for path in (tmp_path / "alone").iterdir()}
    output = tmp_path / "recs"
    for kill in range(KILLS):
        kill_at_a_random_moment(start(pia_run, log, output, part_rows=part_rows), output, generator)
        there = parts_of(output)
        print(f"kill {kill}: {len(there)} of {len(expected) - 2} parts are there")
        assert there.items() <= expected.items()
    last = start(pia_run, log, output, part_rows=part_rows)
    printed, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors.decode()
    assert b"written to" in printed
    assert {path.name: path.read_bytes() for path in output.iterdir()} == expected


def damage(folder):
    for file in (folder / "checkpoints").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


@pytest.mark.parametrize("fault", ["checkpoint", "column", "run", "disk"])
def test_the_command_ends_with_a_clear_message_and_status_2(fault, pia_run, log, tmp_path, monkeypatch, capsys):
    sys.path.insert(0, str(ROOT / "bin"))
    import recommend

    sys.path.remove(str(ROOT / "bin"))
    run, output = tmp_path / "run", tmp_path / "recs"
    shutil.copytree(pia_run, run)
    if fault == "checkpoint":
        damage(run)
    if fault == "disk":
        fail_at(monkeypatch, pq.ParquetWriter, "write_table", 2)
    flags = ["--run", tmp_path / "elsewhere" if fault == "run" else run, "--input", log, "--output", output]
    flags += ["--k", K, "--part-rows", PART_ROWS, *(["--item-column", "title"] if fault == "column" else [])]
    monkeypatch.setattr(sys, "argv", ["recommend.py", *map(str, flags)])
    monkeypatch.setattr(cli, "keep_compiled_programs", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli.run(recommend.main)
    assert ended.value.code == 2
    message = {
        "checkpoint": "checkpoints cannot be read",
        "column": "has no column 'title'",
        "run": "is not a run folder",
        "disk": "No space left on device",
    }[fault]
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert message in printed
    assert not (output / "_SUCCESS").exists()
    assert output.exists() == (fault == "disk")
