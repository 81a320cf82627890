"""What a person sees of a batch job: a bar that moves in a terminal, a line now and then in a log."""

import time
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_LINE_SECONDS = 10.0


class JobProgress:
    """A `Listener` that draws on a console."""

    def __init__(self, console: Console, *, rows: int) -> None:
        """Rows of the log in all."""
        self._console, self._rows = console, rows
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, TextColumn("{task.fields[speed]}"), console=console, transient=True)
        self._task = self._bar.add_task("reading", total=rows, speed="")
        self._started = self._last_line = time.monotonic()
        self._parts = self._parts_done = self._interactions = self._done = 0
        self.users = 0
        """Users ranked and written so far."""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def rows_read(self, rows: int) -> None:
        """Move the bar of the first stage."""
        speed = f"{rows / self._seconds():,.0f} rows/s"
        self._bar.update(self._task, completed=rows, speed=speed)
        self._line(f"read {rows:,} of {self._rows:,} rows  {speed}", last=rows >= self._rows)

    def parts_started(self, *, parts: int, interactions: int) -> None:
        """Begin the second stage."""
        self._parts, self._interactions, self._started = parts, interactions, time.monotonic()
        self._bar.reset(self._task, total=interactions, description="recommending", speed="")

    def part_done(self, *, users: int, interactions: int) -> None:
        """Move the bar by a part."""
        self.users += users
        self._done += interactions
        self._parts_done += 1
        seconds = self._seconds()
        speed = f"{self.users / seconds:,.0f} users/s"
        self._bar.update(self._task, completed=self._done, speed=speed)
        left = timedelta(seconds=round(seconds * (self._interactions - self._done) / max(self._done, 1)))
        text = f"part {self._parts_done} of {self._parts}  {self.users:,} users  {speed}  {left} left"
        self._line(text, last=self._parts_done == self._parts)

    def _seconds(self) -> float:
        return max(time.monotonic() - self._started, 1e-9)

    def _line(self, text: str, *, last: bool) -> None:
        now = time.monotonic()
        if not self._console.is_terminal and (last or now - self._last_line >= _LINE_SECONDS):
            self._last_line = now
            self._console.print(text, highlight=False, soft_wrap=True)
