"""Several runs of a benchmark at a time, each in a process with its share of the machine.

Small models leave most of a GPU idle, and on a CPU one core a run is used better than all cores by one.
"""

import functools
import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.queues import SimpleQueue

from absl import logging
from rich.console import Console
from rich.markup import escape

from piavae_jax import compile_cache
from piavae_jax.benchmark.plan import Chosen, Plan, resolve
from piavae_jax.benchmark.records import read_record, read_records, run_path
from piavae_jax.benchmark.runner import plan_jobs, run_job, show_job
from piavae_jax.benchmark.system import System
from piavae_jax.benchmark.time_left import Job, describe_time_left
from piavae_jax.errors import UserError

_GPU_SHARE = 0.9  # of a GPU's memory, for all processes together


def leave_device(processes: int) -> None:
    """Where others will work, let this process take no GPU memory beforehand, unless the user has set that.

    JAX reads it when it first looks for devices.
    """
    if processes > 1:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def run_systems_at_once(systems: Sequence[System], plan: Plan, *, seeds: int, processes: int, console: Console) -> None:
    """What `runner.run_systems` does, with several runs at a time; a fused system waits for what it fuses.

    Results are the same but for rounding: a product on fewer cores may add up in another order.

    Args:
      systems: those of the plan.
      plan: where the processes find them again.
      seeds: runs of a system that draws random numbers.
      processes: runs at a time, above 1.
      console: where a line says what has ended and how long is left.

    Raises:
      UserError: a system refuses what it is given, or a process was killed.
    """
    jobs, todo = plan_jobs(systems, plan.out, seeds=seeds, console=console)
    processes = min(processes, len(todo))
    finished, running = read_records(plan.out), dict[Future[str], Job]()
    try:
        with _shares(processes) as shares, _pool(processes, shares) as pool, console.status("") as status:
            while todo or running:
                for job in _ready(todo, running.values(), room=processes - len(running)):
                    todo.remove(job)
                    with _interrupts_held():
                        running[pool.submit(_run, plan, job.system.name, job.seed)] = job
                status.update(escape("running: " + "; ".join(job.label for job in running.values())))
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    printed = future.result()
                    job = running.pop(future)
                    finished.append(read_record(run_path(plan.out, job.system.name, job.seed)))
                    left = describe_time_left([*running.values(), *todo], finished, at_once=processes)
                    show_job(job, len(jobs) - len(todo) - len(running), len(jobs), left, console)
                    console.print(printed, end="", highlight=False, markup=False)
    except BrokenProcessPool as error:
        raise UserError(
            f"one of {processes} processes was killed, for want of memory perhaps: the same command goes on; "
            "a smaller --processes needs less"
        ) from error


def _ready(todo: Sequence[Job], running: Collection[Job], *, room: int) -> list[Job]:
    """The first jobs, in order, that wait for no other."""
    unfinished = {(job.system.name, job.seed if job.system.seeds else None) for job in [*todo, *running]}

    def waits(job: Job) -> bool:
        return any({(name, job.seed), (name, None)} & unfinished for name in job.system.needs)

    return [job for job in todo if not waits(job)][:room]


@contextmanager
def _pool(processes: int, shares: "SimpleQueue[set[int]]") -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the block: when their work is done or, after an error, at once."""
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max(processes, 1), mp_context=context, initializer=_begin, initargs=(shares,))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()  # what it was at goes on from its last checkpoint
            process.join()
        raise
    pool.shutdown()


@contextmanager
def _shares(processes: int) -> Iterator["SimpleQueue[set[int]]"]:
    """What each process takes of the machine: cores from the queue, and by its environment threads and GPU memory."""
    cores = _shares_of_cores(processes)
    queue: SimpleQueue[set[int]] = multiprocessing.get_context("spawn").SimpleQueue()
    for share in cores:
        queue.put(share)
    added = {}
    if not {"XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"} & os.environ.keys():
        added["XLA_CLIENT_MEM_FRACTION"] = f"{_GPU_SHARE / max(processes, 1):.3f}"
    if any(cores) and "OPENBLAS_NUM_THREADS" not in os.environ:
        # NumPy starts its threads when it is imported, which is before a process can say where it runs.
        added["OPENBLAS_NUM_THREADS"] = str(max(map(len, cores)))
    os.environ.update(added)
    try:
        yield queue
    finally:
        for name in added:
            del os.environ[name]


def _shares_of_cores(processes: int) -> list[set[int]]:
    """Cores for each process: each core to one of them or, where there are too few, to several."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [set(cores[number % len(cores) :: processes]) if cores else set() for number in range(processes)]


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes that a Ctrl-C in the terminal does not reach: their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(shares: "SimpleQueue[set[int]]") -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.set_verbosity(logging.ERROR)  # Orbax warns of what this library does on purpose
    share = shares.get()
    if share:
        os.sched_setaffinity(0, share)


def _end_with_parent() -> None:
    """A parent that is killed cannot end its processes, and they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@functools.cache
def _chosen(plan: Plan) -> Chosen:
    """Each process reads the data once."""
    with suppress(UserError):  # the command has said so
        compile_cache.enable()
    return resolve(plan)


def _run(plan: Plan, name: str, seed: int) -> str:
    """Make a run, and return what it printed."""
    chosen = _chosen(plan)
    system = next(system for system in chosen.systems if system.name == name)
    said = io.StringIO()
    run_job(Job(system, seed), chosen.dataset, plan.out, Console(file=said, width=120))
    return said.getvalue()
