"""Run systems one after the other; what is done stays done."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from piavae_jax.benchmark.formats import format_score, format_seconds
from piavae_jax.benchmark.neural import RUN
from piavae_jax.benchmark.records import is_done, read_record, read_records, run_path, write_failure, write_outcome
from piavae_jax.benchmark.system import Outcome, System
from piavae_jax.benchmark.time_left import Job, describe_time_left, list_jobs
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.errors import UserError
from piavae_jax.training.failures import FAILURES, describe_failure
from piavae_jax.training.session import SELECTION_METRIC


def run_systems(
    systems: Sequence[System], dataset: PreparedDataset, root: Path, *, seeds: int, console: Console
) -> None:
    """Run each system with the seeds 0 to `seeds - 1`, passing over runs that are done.

    A run that fails is written down and the others go on; the next call tries it again. One that was stopped at any
    instant goes on as far as the system can. Of a variant of another system only the figures are kept, not the model.

    Args:
      systems: what to run.
      dataset: a prepared data set.
      root: the folder of the benchmark.
      seeds: runs of a system that draws random numbers.
      console: where a line says what runs and how long is left.

    Raises:
      UserError: a system refuses what it is given.
    """
    jobs, todo = plan_jobs(systems, root, seeds=seeds, console=console)
    finished = read_records(root)
    for number, job in enumerate(todo):
        left = describe_time_left(todo[number:], finished)
        show_job(job, len(jobs) - len(todo) + number + 1, len(jobs), left, console)
        run_job(job, dataset, root, console)
        finished.append(read_record(run_path(root, job.system.name, job.seed)))


def show_job(job: Job, position: int, total: int, left: str, console: Console) -> None:
    """A line such as "4/65  Multi-VAE, seed 2  (about 20 min left)"."""
    console.print(f"{position}/{total}  {job.label}{left and f'  ({left})'}", highlight=False, markup=False)


def plan_jobs(systems: Sequence[System], root: Path, *, seeds: int, console: Console) -> tuple[list[Job], list[Job]]:
    """All runs, and those that are not done; a line says how many are."""
    jobs = list_jobs(systems, seeds=seeds)
    todo = [job for job in jobs if not is_done(run_path(root, job.system.name, job.seed))]
    for job in set(jobs).difference(todo):
        _drop_model(job, root)  # as a call that was killed in between would have
    if len(todo) < len(jobs):
        console.print(f"{len(jobs) - len(todo)} of {len(jobs)} runs are done already", highlight=False)
    return jobs, todo


def check_held_out(dataset: PreparedDataset) -> None:
    """Refuse, before any work is done, data that nothing can be measured on.

    Raises:
      UserError: validation or test has no held-out interactions.
    """
    for split, part in {"validation": dataset.validation, "test": dataset.test}.items():
        if part.target.nnz == 0:
            raise UserError(
                f"{dataset.path} must have held-out interactions, got none for {split}: prepare it with more "
                "held-out users"
            )


def run_job(job: Job, dataset: PreparedDataset, root: Path, console: Console) -> None:
    """Make a run, and write what came of it."""
    system, seed = job
    folder = run_path(root, system.name, seed)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    outcome, error = _attempt(job, dataset, folder, console)
    seconds = time.perf_counter() - started
    if outcome is None:
        write_failure(folder, system, seed, error, seconds=seconds)
        console.print(f"    failed: {error}", highlight=False, markup=False)
        return
    if system.family != "fusion":  # whose members other systems may have trained
        seconds = max(seconds, outcome.train_seconds)  # a run that was stopped has spent more than this call saw
    write_outcome(folder, system, seed, outcome, seconds=seconds)
    _drop_model(job, root)
    quality = format_score(outcome.validation.summary(SELECTION_METRIC).mean)
    console.print(f"    validation nDCG@100 {quality} in {format_seconds(seconds)}", highlight=False)


def _drop_model(job: Job, root: Path) -> None:
    """A hundred variants' checkpoints would fill a disk, and no other system is built on them."""
    if job.system.baseline:
        shutil.rmtree(run_path(root, job.system.name, job.seed) / RUN, ignore_errors=True)


def _attempt(job: Job, dataset: PreparedDataset, folder: Path, console: Console) -> tuple[Outcome | None, str]:
    try:
        return job.system.run(dataset, folder, job.seed, console), ""
    except FAILURES as error:
        return None, describe_failure(error)
