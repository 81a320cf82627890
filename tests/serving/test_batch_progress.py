"""What a person sees of a batch job, in a log and in a terminal."""

import io

import pytest
from rich.console import Console

from piavae_jax.serving.batch import progress
from piavae_jax.serving.batch.progress import JobProgress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def report(console, clock, *, seconds):
    with JobProgress(console, rows=3_000) as job:
        for rows in (1_000, 2_000, 3_000):
            clock[0] += seconds
            job.rows_read(rows)
        job.parts_started(parts=4, interactions=2_000)
        for _ in range(4):
            clock[0] += seconds
            job.part_done(users=50, interactions=500)
    return console.file.getvalue()


def test_a_log_gets_a_line_now_and_then_and_at_the_end_of_each_stage(clock):
    printed = report(Console(file=io.StringIO(), width=40), clock, seconds=6.0)
    assert printed.splitlines() == [
        "read 2,000 of 3,000 rows  167 rows/s",
        "read 3,000 of 3,000 rows  167 rows/s",
        "part 2 of 4  100 users  8 users/s  0:00:12 left",
        "part 4 of 4  200 users  8 users/s  0:00:00 left",
    ]


def test_a_terminal_gets_a_bar_that_vanishes(clock):
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    printed = report(console, clock, seconds=1.0)
    assert "reading" in printed
    assert "recommending" in printed
    assert "50 users/s" in printed
    assert "part 4" not in printed
