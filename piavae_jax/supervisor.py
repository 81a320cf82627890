"""A process of a job, watched: however it ends, its status and its last line say why.

JAX ends a process from C++ when another one of the job is lost, so it takes a parent to have the last word.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import NoReturn

from piavae_jax import cli

EXIT_LOST_PROCESS = 75
"""Status where another process of the job is gone: EX_TEMPFAIL, try again."""

_PASSED_ON = (signal.SIGINT, signal.SIGTERM)


def run_watched(work: Callable[[], None]) -> NoReturn:
    """Do `work` in a child process and end with its status; call this before JAX is loaded.

    Status 75, and one line, where another process of the job is gone; 128 + N where signal N ended the child.
    """
    leash, hold = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)  # none may arrive before it is known whom to pass it to
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        os.close(hold)
        threading.Thread(target=_end_with_parent, args=(leash,), daemon=True).start()
        _work(work)
    os.close(leash)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the child as well
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    sys.exit(_report(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))


def _end_with_parent(leash: int) -> None:
    os.read(leash, 1)  # returns when the parent, which never writes, is gone
    os._exit(1)


def _work(work: Callable[[], None]) -> NoReturn:
    """Do the work; after an error end at once: JAX would wait at exit for processes that wait for this one."""
    status = 1
    try:
        cli.run(work)
        sys.exit()  # the usual way out, with the others
    except SystemExit as stop:
        if stop.code is None:
            raise
        status = stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        from piavae_jax.distributed import is_lost_process

        if is_lost_process(error):
            status = EXIT_LOST_PROCESS
        else:
            traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _report(status: int) -> int:
    """Say what a child that could not speak for itself died of, and return the status to end with."""
    if status in (EXIT_LOST_PROCESS, -signal.SIGABRT):
        cli.show_error(
            "another process of this job is gone, or was never there; "
            "the same command on every process goes on from the last checkpoint"
        )
        return EXIT_LOST_PROCESS
    if status < 0:
        cli.show_error(
            f"this process was ended by {signal.Signals(-status).name}; "
            "the same command on every process goes on from the last checkpoint"
        )
        return 128 - status
    return status
