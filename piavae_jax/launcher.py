"""Start the processes of a job on this machine, and end them together."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

_POLL_SECONDS = 0.1
_LAST_WORDS_SECONDS = 10.0  # processes that see another die say so themselves before they end
_END_SECONDS = 10.0


def launch(command: Sequence[str], *, processes: int) -> int:
    """Run a command as N processes of one job, with `--coordinator`, `--process_count` and `--process_id` added.

    Process 0 writes to this terminal; lines of process i come on the standard error after `[i]`. When one fails, the
    others are given ten seconds and are then ended. SIGINT, SIGTERM and SIGHUP are passed on.

    Returns:
      The exit status of the first process that failed, 128 + N where signal N ended it; 0 where none did.
    """
    port = _free_port()
    job = [_start(command, number, processes, port) for number in range(processes)]
    readers = [_relay(number, process.stdout) for number, process in enumerate(job) if process.stdout]
    heard = [number for number in _PASSED_ON if signal.getsignal(number) != signal.SIG_IGN]  # nohup has SIGHUP ignored
    handlers = {number: signal.signal(number, lambda number, _: _send(job, number)) for number in heard}
    try:
        return _wait(job)
    finally:
        _end(job)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for reader in readers:
            reader.join()


_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _free_port() -> int:
    with socket.socket() as probe:  # another program may take it before process 0 does, which would then say so
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start(command: Sequence[str], number: int, processes: int, port: int) -> subprocess.Popen[str]:
    program = [sys.executable] if command[0].endswith(".py") else []
    place = [f"--coordinator=127.0.0.1:{port}", f"--process_count={processes}", f"--process_id={number}"]
    # A session of its own keeps the terminal's Ctrl-C from reaching a process twice.
    if number == 0:
        return subprocess.Popen([*program, *command, *place], start_new_session=True, text=True)
    return subprocess.Popen(
        [*program, *command, *place],
        start_new_session=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _relay(number: int, lines: IO[str]) -> threading.Thread:
    def relay() -> None:
        with lines:
            for line in lines:
                print(f"[{number}] {line}", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    return thread


def _wait(job: Sequence[subprocess.Popen[str]]) -> int:
    """Wait until all have ended, or one has failed and the others have had their time."""
    while not any(statuses := _statuses(job)):
        if None not in statuses:
            return 0
        time.sleep(_POLL_SECONDS)
    first = next(status for status in statuses if status)
    _wait_all(job, _LAST_WORDS_SECONDS)
    return first if first > 0 else 128 - first


def _statuses(job: Sequence[subprocess.Popen[str]]) -> list[int | None]:
    return [process.poll() for process in job]


def _wait_all(job: Sequence[subprocess.Popen[str]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while None in _statuses(job) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _end(job: Sequence[subprocess.Popen[str]]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        _send(job, number)
        _wait_all(job, _END_SECONDS)


def _send(job: Sequence[subprocess.Popen[str]], number: int) -> None:
    for process in job:
        if process.poll() is None:
            os.killpg(process.pid, number)
