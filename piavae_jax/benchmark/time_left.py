"""How long a benchmark still takes, judged by what has finished."""

from collections.abc import Sequence
from typing import NamedTuple

from piavae_jax.benchmark.formats import format_seconds
from piavae_jax.benchmark.records import Record
from piavae_jax.benchmark.system import System


class Job(NamedTuple):
    """One run to make."""

    system: System
    seed: int

    @property
    def label(self) -> str:
        """Such as "Multi-VAE, seed 2"."""
        return f"{self.system.label}, seed {self.seed}" if self.system.seeds else self.system.label


def list_jobs(systems: Sequence[System], *, seeds: int) -> list[Job]:
    """Every run, seed by seed, so that a benchmark cut short compares all systems, each after those it needs."""
    ordered = _by_need(systems)
    return [Job(system, seed) for seed in range(seeds) for system in ordered if seed == 0 or system.seeds]


def _by_need(systems: Sequence[System]) -> list[System]:
    named, ordered = {system.name: system for system in systems}, dict[str, System]()

    def add(system: System) -> None:
        for name in system.needs:
            if name in named and name not in ordered:
                add(named[name])
        ordered.setdefault(system.name, system)

    for system in systems:
        add(system)
    return list(ordered.values())


def describe_time_left(jobs: Sequence[Job], finished: Sequence[Record], *, at_once: int = 1) -> str:
    """Such as "about 4 min left", plus what nothing is known about; empty before anything is known.

    Args:
      jobs: what is left to run.
      finished: what it is judged by.
      at_once: runs made at the same time, now as before.
    """
    guesses = [_guess(job, finished) for job in jobs]
    known = [guess for guess in guesses if guess is not None]
    if not known:
        return ""
    unknown = len(guesses) - len(known)
    runs = f" and {unknown} run{'s' if unknown > 1 else ''} of unknown length" if unknown else ""
    return f"about {format_seconds(max(sum(known) / at_once, *known, 0))}{runs} left"


def _guess(job: Job, finished: Sequence[Record]) -> float | None:
    """Mean seconds of the system's own runs or, before there are any, of its family's."""
    done = [record for record in finished if record.outcome is not None]
    own = [record.seconds for record in done if record.system == job.system.name]
    alike = own or [record.seconds for record in done if record.family == job.system.family]
    return sum(alike) / len(alike) if alike else None
