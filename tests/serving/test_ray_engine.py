"""A job on a local Ray cluster: the files of a job without Ray, also where one of those was begun and killed."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from batch_jobs import PART_ROWS, K, parts_of, run_job

pytest.importorskip("ray", reason="ray is not installed: pip install 'piavae-jax[ray]'")

ROOT = Path(__file__).parents[2]


def recommend(run, log, output, *flags):
    command = [sys.executable, str(ROOT / "bin" / "recommend.py"), "--run", run, "--input", log, "--output", output]
    command += ["--k", K, "--part-rows", PART_ROWS, "--engine", "ray", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, env=environment)


def test_a_cluster_goes_on_with_a_job_and_writes_the_same_files(pia_run, log, tmp_path):
    run_job(pia_run, log, tmp_path / "alone")
    expected = {path.name: path.read_bytes() for path in (tmp_path / "alone").iterdir()}
    output = tmp_path / "recs"
    run_job(pia_run, log, output)
    for name in ("_SUCCESS", "part-00002.parquet", "part-00005.parquet"):
        (output / name).unlink()
    times = {file: (output / file).stat().st_mtime_ns for file in parts_of(output)}
    done = recommend(pia_run, log, output)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "part 2 of 2" in done.stdout
    assert {path.name: path.read_bytes() for path in output.iterdir()} == expected
    assert {file: (output / file).stat().st_mtime_ns for file in times} == times


def test_what_a_worker_finds_wrong_is_one_sentence(pia_run, tmp_path):
    log = tmp_path / "log.parquet"
    pl.DataFrame({"user": [1, 2], "item": [7, 8]}).write_parquet(log)  # the model's ids are strings
    done = recommend(pia_run, log, tmp_path / "recs")
    assert done.returncode == 2
    assert "item" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "recs" / "_SUCCESS").exists()
