"""What a search may draw for a field of a config: plain values, so that config files can declare them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from piavae_jax.errors import UserError

_DIGITS = 4


@dataclasses.dataclass(frozen=True)
class _Range:
    low: float
    high: float
    log: bool = False
    """Draw the logarithm evenly."""

    def __post_init__(self) -> None:
        kind, low, high = type(self).__name__, self.low, self.high
        numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
        if not numbers or not -math.inf < low <= high < math.inf:
            raise UserError(f"{kind} must have finite ends, low <= high, got {low!r} and {high!r}; correct them")
        if self.log and low <= 0:
            raise UserError(f"{kind} with log=True must start above 0, got {low!r}; raise it, or leave log out")

    @property
    def extremes(self) -> tuple[Any, ...]:
        """The values that show whether a field may take all of them."""
        return self.low, self.high

    def position(self, value: float) -> float:
        """Where a value lies on an axis from 0 to 1."""
        if self.low == self.high:
            return 0.5
        scale = math.log if self.log else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))

    def includes(self, value: Any) -> bool:
        """Whether it may be drawn."""
        return self.low <= value <= self.high


class Float(_Range):
    """A number from low to high, both included; taken to four significant digits, so that it can be copied."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))

    def stored(self, value: float) -> float:
        """What a study keeps of a value."""
        return float(value)

    def value(self, stored: float) -> float:
        """The value behind what a study keeps."""
        return min(max(float(f"{stored:.{_DIGITS}g}"), self.low), self.high)


class Int(_Range):
    """A whole number from low to high, both included."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.low, int) and isinstance(self.high, int)):
            raise UserError(f"Int must have whole ends, got {self.low!r} and {self.high!r}; Float takes any number")

    def stored(self, value: int) -> int:
        """What a study keeps of a value."""
        return value

    def value(self, stored: int) -> int:
        """The value behind what a study keeps."""
        return stored


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values, in no order: `Choice([(200,), (600,)])`."""

    options: Sequence[Any]
    """Of any type; kept as a tuple."""

    def __post_init__(self) -> None:
        if not isinstance(self.options, tuple | list) or not self.options:
            raise UserError(f"Choice must have options, got {self.options!r}; write Choice([1, 2])")
        object.__setattr__(self, "options", tuple(self.options))
        if any(option in self.options[:number] for number, option in enumerate(self.options)):
            raise UserError(f"Choice must have options that differ, got {self.options}; name each once")

    @property
    def labels(self) -> tuple[str, ...]:
        """The options as text; a study keeps this, since it takes no tuples and takes 1 for True."""
        return tuple(map(repr, self.options))

    @property
    def extremes(self) -> Sequence[Any]:
        """The values that show whether a field may take all of them."""
        return self.options

    def position(self, value: Any) -> float:
        """Where a value lies on an axis from 0 to 1."""
        return self.options.index(value) / (len(self.options) - 1) if len(self.options) > 1 else 0.5

    def includes(self, value: Any) -> bool:
        """Whether it may be drawn."""
        return value in self.options

    def stored(self, value: Any) -> str:
        """What a study keeps of a value."""
        return self.labels[self.options.index(value)]

    def value(self, stored: str) -> Any:
        """The value behind what a study keeps."""
        return self.options[self.labels.index(stored)]


Distribution: TypeAlias = Float | Int | Choice
