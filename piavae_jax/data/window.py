"""A window of time: the part of a log that a model is trained on, such as its last weeks."""

import re
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from piavae_jax.errors import UserError

_MAX_SECONDS = 10**11  # in the year 5138, as for the readers: numbers above it are milliseconds or finer


class Window(NamedTuple):
    """The times since <= t < until, in Unix seconds; None leaves a side open."""

    since: int | None = None
    until: int | None = None

    @property
    def everything(self) -> bool:
        """Whether no time is left out."""
        return self.since is None and self.until is None

    def contains(self, timestamps: np.ndarray) -> np.ndarray:
        """bool[n], which of int64[n] Unix seconds lie in the window."""
        inside = np.ones(len(timestamps), bool)
        if self.since is not None:
            inside &= timestamps >= self.since
        if self.until is not None:
            inside &= timestamps < self.until
        return inside

    def parameters(self) -> dict[str, str]:
        """What a manifest records: `since` and `until` in ISO 8601, UTC, without the open sides."""
        return {name: print_time(time) for name, time in self._asdict().items() if time is not None}

    def __str__(self) -> str:
        ends = ("..." if time is None else print_time(time) for time in self)
        return "[{}, {})".format(*ends)


def make_window(since: str | None, until: str | None) -> Window:
    """The window between two times as `parse_time` reads them.

    Raises:
      UserError: one is no time, or the window is empty whatever the data.
    """
    window = Window(*(None if text is None else parse_time(name, text) for name, text in _named(since, until)))
    if window.since is not None and window.until is not None and window.since >= window.until:
        raise UserError(f"since must be before until, which is not in the window, got {since} and {until}")
    return window


def _named(since: str | None, until: str | None) -> tuple[tuple[str, str | None], ...]:
    return ("since", since), ("until", until)


def parse_time(name: str, text: str) -> int:
    """Unix seconds of an ISO 8601 date or time (UTC unless it says otherwise), or of a whole number of seconds.

    A date is its first second; `2026-W48` is the Monday of a week, `20261125` a day like any other.

    Args:
      name: what to call it in errors.
      text: the time.

    Raises:
      UserError: it is neither.
    """
    if re.fullmatch(r"\d{4}", text):
        raise UserError(
            f"{name} must be a date such as {text}-01-01, got {text}: as Unix seconds it is written +{text}"
        )
    if re.fullmatch(r"[+-]?\d+", text) and not re.fullmatch(r"\d{8}", text):  # eight digits are a date: 20261125
        seconds = int(text)
        if abs(seconds) > _MAX_SECONDS:
            raise UserError(f"{name} must be in Unix seconds, got {text}: divide milliseconds by 1,000")
        return seconds
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(
            f"{name} must be a date or a time such as 2026-11-25 or 2026-11-25T06:00, or Unix seconds, got {text!r}"
        ) from error
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    # Rounded up, so that no time is lost or gained at either end: events are in whole seconds.
    return int(aware.timestamp()) + (aware.microsecond > 0)


def print_time(seconds: int) -> str:
    """ISO 8601, UTC, of Unix seconds; the number itself where the calendar ends."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return str(seconds)
