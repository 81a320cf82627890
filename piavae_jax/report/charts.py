"""Geometry of the page's pictures; the templates draw it, and their colours follow the reader's theme."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator

Records = Sequence[Mapping[str, Any]]

_WIDTH, _HEIGHT = 320, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 10, 26
_ROW, _LABELLED_ROW = 24, 38


class Tick(NamedTuple):
    """A labelled place on an axis."""

    at: float
    """In pixels of the picture."""
    label: str


class Line(NamedTuple):
    """One series of a chart."""

    name: str
    path: str
    """Of an SVG `path`."""
    values: dict[int, float]
    """By epoch."""


class LineChart(NamedTuple):
    """Series over epochs."""

    title: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marker: float | None
    """Where the best epoch is, in pixels."""
    frame: dict[str, float]
    """Width and height of the picture; left, right, top and bottom edge of what is drawn."""
    scale: tuple[float, float]
    """Pixels of epoch 0, and of each further one."""


def line_chart(records: Records, series: Mapping[str, str], *, title: str, best: int | None = None) -> LineChart:
    """Lay out fields of the epochs' records.

    Args:
      records: of `metrics.jsonl`; a record need not have every field.
      series: labels by field, of which at least one is there.
      title: above the picture.
      best: the epoch to mark.
    """
    found = {
        label: {record["epoch"]: float(record[field]) for record in records if field in record}
        for field, label in series.items()
    }
    found = {label: values for label, values in found.items() if values}
    numbers = np.array([value for values in found.values() for value in values.values()])
    y_values, low, high = _ticks(float(numbers.min()), float(numbers.max()))
    last = max(records[-1]["epoch"], 2)
    step = (_WIDTH - _LEFT - _RIGHT) / (last - 1)
    origin = _LEFT - step

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    epochs = [epoch for epoch in _ticks(1, last, count=6, whole=True)[0] if 1 <= epoch < last - 0.16 * (last - 1)]
    # The axis' name stands at its end.
    return LineChart(
        title=title,
        lines=[
            Line(
                label,
                "M" + "L".join(f"{origin + step * epoch:.1f} {y(value):.1f}" for epoch, value in values.items()),
                values,
            )
            for label, values in found.items()
        ],
        x_ticks=[Tick(round(origin + step * epoch, 1), f"{epoch:g}") for epoch in epochs],
        y_ticks=[Tick(round(y(value), 1), label) for value, label in zip(y_values, _labels(y_values), strict=True)],
        marker=None if best is None else round(origin + step * best, 1),
        frame={
            "width": _WIDTH,
            "height": _HEIGHT,
            "left": _LEFT,
            "right": _WIDTH - _RIGHT,
            "top": _TOP,
            "bottom": _HEIGHT - _BOTTOM,
        },
        scale=(origin, step),
    )


class IntervalRow(NamedTuple):
    """A mean and its interval, at a height."""

    label: str
    label_x: float
    label_y: float
    label_ends: bool
    """Whether the label's place is its end, not its start."""
    y: float
    at: float
    low: float
    high: float
    kind: int
    """Which system it is of: 0 is the run."""
    value: str


class IntervalChart(NamedTuple):
    """Means with intervals on one scale, one below the other."""

    title: str
    rows: list[IntervalRow]
    ticks: list[Tick]
    width: int
    height: int
    right: int
    bottom: int


def interval_chart(
    entries: Sequence[tuple[str, float, float, float, int, str]], *, title: str, gap_after: int = 0
) -> IntervalChart:
    """Lay out means with intervals.

    Args:
      entries: label, mean, low, high, which system, and the mean in words; those without an interval have NaNs.
      title: of the picture.
      gap_after: rows that belong together, whose first has a short label, on the left; 0 puts a label above each row.
    """
    numbers = np.array([entry[1:4] for entry in entries], float)
    ticks, low, high = _ticks(float(np.nanmin(numbers)), float(np.nanmax(numbers)), count=4)
    left, right = 64 if gap_after else 10, _WIDTH - 48

    def x(value: float) -> float:
        return round(left + (value - low) / (high - low) * (right - left), 1)

    rows, y = [], 4
    for number, (label, mean, low_end, high_end, kind, text) in enumerate(entries):
        if gap_after and number and number % gap_after == 0:
            y += 8
        y += _ROW if gap_after else _LABELLED_ROW
        middle = y - _ROW / 2
        place = (left - 10, middle + 4, True) if gap_after else (4, middle - 13, False)
        ends = (mean, mean) if np.isnan(low_end) else (low_end, high_end)
        rows.append(IntervalRow(label, *place, middle, x(mean), x(ends[0]), x(ends[1]), kind, text))
    places = [Tick(x(value), label) for value, label in zip(ticks, _labels(ticks), strict=True)]
    return IntervalChart(title, rows, places, _WIDTH, y + 24, right, y)


class MapPoint(NamedTuple):
    """A user on the map."""

    x: float
    y: float
    shade: int
    """0 to 4, from the shortest history to the longest."""


class Shade(NamedTuple):
    """A colour of the map and what it stands for."""

    low: int
    """Shortest history."""
    high: int
    """Longest."""
    users: int


def shades_of(history: np.ndarray, *, count: int = 5) -> tuple[np.ndarray, list[Shade]]:
    """Cut users into as many parts of about equal size by `history: int[V]`; fewer where many are alike.

    Returns:
      int[V], the part of each, and what each part is.
    """
    edges = np.unique(np.quantile(history, np.linspace(0, 1, count + 1)[1:-1], method="inverted_cdf"))
    parts = np.unique(np.searchsorted(edges, history, side="left"), return_inverse=True)[1]
    groups = [history[parts == part] for part in np.unique(parts)]
    shades = [Shade(int(group.min()), int(group.max()), len(group)) for group in groups]
    return parts, shades


def place_points(points: np.ndarray, *, size: float = 640.0, margin: float = 14.0) -> tuple[np.ndarray, float]:
    """Scale points of a plane, both axes alike, to a width.

    Args:
      points: float[V, 2].
      size: width of the picture.
      margin: left free at all sides.

    Returns:
      float[V, 2] in pixels, and the height of the picture, between half and all of its width.
    """
    low, spread = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-9)
    inner = size - 2 * margin
    scale = inner / max(spread)
    height = float(np.clip(spread[1] * scale, inner / 2, inner))
    placed = (points - low - spread / 2) * scale * np.array([1.0, -1.0])
    placed += np.array([margin + inner / 2, margin + height / 2])
    return placed, round(height + 2 * margin)


def _ticks(low: float, high: float, *, count: int = 5, whole: bool = False) -> tuple[np.ndarray, float, float]:
    """Round values that span a range, and its ends widened to the outermost of them."""
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    values = np.asarray(MaxNLocator(count, steps=[1, 2, 5, 10], integer=whole).tick_values(low, high))
    return values, float(values[0]), float(values[-1])


def _labels(values: np.ndarray) -> list[str]:
    step = float(values[1] - values[0])
    digits = max(0, -int(np.floor(np.log10(step) + 1e-9)))
    return [f"{value:,.{digits}f}" for value in values]
