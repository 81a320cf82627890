"""The local launcher, with processes that need no JAX."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from piavae_jax import launcher

LAUNCH = Path(__file__).parents[1] / "bin" / "launch.py"


def launched(tmp_path, code, *arguments, processes=3, hangup=signal.SIG_DFL):
    script = tmp_path / "work.py"
    script.write_text("import os, signal, sys, time\nnumber = int(sys.argv[-1].partition('=')[2])\n" + code)
    command = [sys.executable, str(LAUNCH), f"--processes={processes}", "--", str(script), *arguments]
    # What it does on SIGHUP is else what whoever runs the tests does.
    reset = f"import os, signal, sys; signal.signal(signal.SIGHUP, {int(hangup)}); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", reset, *command]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_each_process_gets_its_place_and_its_prefix(tmp_path):
    job = launched(tmp_path, "print(*sys.argv[1:])", "--config=any.py")
    out, errors = job.communicate(timeout=60)
    assert job.returncode == 0, errors
    flag, coordinator, count, number = out.split()
    assert (flag, count, number) == ("--config=any.py", "--process_count=3", "--process_id=0")
    assert coordinator.startswith("--coordinator=127.0.0.1:")
    assert sorted(errors.splitlines()) == [
        f"[{number}] --config=any.py {coordinator} --process_count=3 --process_id={number}" for number in (1, 2)
    ]


def test_when_one_fails_the_others_end_and_its_status_is_the_jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "_LAST_WORDS_SECONDS", 0.2)
    script = tmp_path / "work.py"
    script.write_text(
        "import os, pathlib, sys, time\n"
        "number = sys.argv[-1][-1]\n"
        "pathlib.Path(__file__).with_name(number).write_text(str(os.getpid()))\n"
        "if number == '1': sys.exit(7)\n"
        "time.sleep(1000)"
    )
    assert launcher.launch([str(script)], processes=3) == 7
    for number in (file for file in "012" if (tmp_path / file).exists()):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / number).read_text()), 0)


def test_ctrl_c_reaches_every_process_once(tmp_path):
    # Waited for, not handled: a signal that came between the last check for one and a sleep would be slept through.
    code = (
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n"
        "print('ready', flush=True)\n"
        "signal.sigwait({signal.SIGINT})\n"
        "again = signal.sigtimedwait({signal.SIGINT}, 0.5)\n"
        "print('interrupted', 'twice' if again else 'once', flush=True)\n"
        "sys.exit(130)"
    )
    job = launched(tmp_path, code, processes=2)
    assert job.stdout.readline() == "ready\n"
    assert job.stderr.readline() == "[1] ready\n"
    job.send_signal(signal.SIGINT)
    out, errors = job.communicate(timeout=60)
    assert job.returncode == 130
    assert (out, errors) == ("interrupted once\n", "[1] interrupted once\n")


def test_a_terminal_that_closes_ends_the_job(tmp_path):
    code = "print('ready', flush=True)\ntime.sleep(1000)"
    job = launched(tmp_path, code, processes=2)
    assert job.stdout.readline() == "ready\n"
    assert job.stderr.readline() == "[1] ready\n"
    job.send_signal(signal.SIGHUP)
    job.communicate(timeout=60)  # until the pipes of both are closed
    assert job.returncode == 128 + signal.SIGHUP


def test_under_nohup_a_job_outlives_its_terminal(tmp_path):
    code = "print('ready', flush=True)\ntime.sleep(1)\nprint('done', flush=True)"
    job = launched(tmp_path, code, processes=1, hangup=signal.SIG_IGN)
    assert job.stdout.readline() == "ready\n"
    job.send_signal(signal.SIGHUP)
    assert job.communicate(timeout=60) == ("done\n", "")
    assert job.returncode == 0


def test_a_process_that_fails_last_is_no_success():
    class Ended:
        def __init__(self, *statuses):
            self._statuses = list(statuses)

        def poll(self):
            return self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]

    assert launcher._wait([Ended(0), Ended(None, 7)]) == 7


def test_there_must_be_a_process(tmp_path):
    job = launched(tmp_path, "", processes=0)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 2
    assert "--processes must be at least 1, got 0" in errors
