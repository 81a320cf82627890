"""A job on a local Ray cluster: the files of a job without Ray, also where one of those was begun and killed."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from batch_jobs import PART_ROWS, K, parts_of, run_job

from piavae_jax.errors import UserError

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'piavae-jax[ray]'")

from piavae_jax.serving.batch import ray_engine  # noqa: E402

ROOT = Path(__file__).parents[2]


def recommend(run, log, output, *flags):
    command = [sys.executable, str(ROOT / "bin" / "recommend.py"), "--run", run, "--input", log, "--output", output]
    command += ["--k", K, "--part-rows", PART_ROWS, "--engine", "ray", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.skipif((os.cpu_count() or 1) < 4, reason="a cluster wants cores of its own")
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
    assert "Traceback" not in done.stderr
    assert "part 2 of 2" in done.stdout
    assert {path.name: path.read_bytes() for path in output.iterdir()} == expected
    assert {file: (output / file).stat().st_mtime_ns for file in times} == times


def test_an_address_without_a_cluster_is_one_sentence(pia_run, log, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UserError, match=f"--ray-address must be a cluster's, got {address}"):
        run_job(pia_run, log, tmp_path / "recs", engine="ray", ray_address=address)
    assert not (tmp_path / "recs").exists()


def test_what_a_worker_raises_is_what_the_user_sees():
    cause = UserError("the model's scores must be finite, got NaN\nFailed to apply UDF")
    with pytest.raises(UserError, match=r"got NaN$"), ray_engine.users_errors():
        raise ray.exceptions.RayTaskError("a part", "a traceback", cause).as_instanceof_cause()
    with pytest.raises(ray.exceptions.RayError), ray_engine.users_errors():
        raise ray.exceptions.RayTaskError("a part", "a traceback", KeyError("a fault of ours"))
