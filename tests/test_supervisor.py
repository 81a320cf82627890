"""A watched process: what it ends with, and what it says."""

import signal
import subprocess
import sys

import pytest

LOST = "another process of this job is gone"
GO_ON = "the same command on every process goes on from the last checkpoint"


def watched(work, **options):
    code = f"import os, signal, sys\nfrom piavae_jax import UserError, supervisor\ndef work():\n    {work}\n"
    command = [sys.executable, "-c", code + "supervisor.run_watched(work)"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize(
    ("work", "status", "said"),
    [
        ("pass", 0, ""),
        ("raise UserError('the rule')", 2, "error: the rule"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("raise ZeroDivisionError", 1, "ZeroDivisionError"),
        ("raise ValueError('Gloo all-reduce failed: Connection closed by peer')", 75, LOST),
        ("os.abort()", 75, LOST),  # as JAX ends a process from C++
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, f"this process was ended by SIGKILL; {GO_ON}"),
    ],
)
def test_status_and_last_line(work, status, said):
    process = watched(work)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, said in errors) == (status, True), errors
    assert errors.count("error:") <= 1 or status == 1


def test_work_ends_with_its_parent():
    process = watched("print('ready', flush=True); signal.pause()")
    process.stdout.readline()
    process.kill()
    process.communicate(timeout=60)  # returns when the child, who holds the pipes, has ended too


def test_sigterm_reaches_the_work():
    process = watched("print('ready', flush=True); signal.pause()")
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "this process was ended by SIGTERM" in errors
