"""Pictures of a search: every trial as a line through its settings, and which settings matter."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from piavae_jax import pictures
from piavae_jax.errors import UserError
from piavae_jax.tuning.distributions import Choice, Distribution, Float, Int
from piavae_jax.tuning.progress import format_value
from piavae_jax.tuning.records import FINISHED, TrialRecord, best_record
from piavae_jax.tuning.spaces import Space

_QUALITY = "validation\nnDCG@100"
_BEST_COLOUR, _UNFINISHED_COLOUR = "tab:red", "0.8"
_LABEL_BOX = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}


@pictures.style(extra="tune")
def draw_parallel_coordinates(records: Sequence[TrialRecord], space: Space, path: Path, *, title: str) -> None:
    """Draw each trial as a line over an axis for each field and, last, one for its validation nDCG@100, into a PNG.

    Finished trials are coloured by quality and the best one is marked with its values. Others are grey and end before
    the last axis, for their quality is that of fewer epochs.

    Args:
      records: best first.
      space: what the trials varied.
      path: the file.
      title: of the picture.

    Raises:
      UserError: matplotlib is not installed, or no trial has finished.
    """
    best = best_record(records)
    if best is None:
        raise UserError("no trial has finished, so that there is none to draw; run more")
    finished = [record.quality for record in records if record.state == FINISHED and record.quality is not None]
    scales: dict[str, Distribution] = {**space, _QUALITY: Float(min(finished), max(finished))}
    figure = pictures.new_figure(1.5 + 1.8 * len(scales), 5.2, title=title)
    axes = figure.subplots()
    whole = [record for record in records if len(record.settings) == len(space)]
    for record in reversed(whole):  # good ones over bad ones
        values = [*record.settings.values(), *([record.quality] if record.state == FINISHED else [])]
        line = [scale.position(value) for scale, value in zip(scales.values(), values, strict=False)]
        axes.plot(range(len(line)), line, **_line_style(record, best, line[-1]))
        if record is best:
            _label_values(axes, line, values)
    for number, (name, scale) in enumerate(scales.items()):
        _draw_scale(axes, number, name, scale)
    axes.set(xlim=(-0.5, len(scales) - 0.6), ylim=(-0.04, 1.04))
    axes.axis("off")
    axes.legend(handles=_legend(best, records), loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3)
    pictures.save(figure, path)


def _line_style(record: TrialRecord, best: TrialRecord, quality: float) -> dict[str, Any]:
    from matplotlib import colormaps

    if record is best:
        return {"color": _BEST_COLOUR, "linewidth": 2.5, "marker": "o", "zorder": 3.8}
    if record.state == FINISHED:
        return {"color": colormaps["viridis_r"](0.1 + 0.9 * quality), "linewidth": 1.2, "alpha": 0.8}
    return {"color": _UNFINISHED_COLOUR, "linewidth": 0.8}


def _legend(best: TrialRecord, records: Sequence[TrialRecord]) -> list[Any]:
    from matplotlib.lines import Line2D

    entries = {f"best: trial {best.number}": _line_style(best, best, 1.0)}
    states = dict.fromkeys(record.state for record in records if record is not best)
    if FINISHED in states:
        entries["finished, darker is better"] = {"color": "tab:purple"}
    for state in states.keys() - {FINISHED}:
        entries[state] = {"color": _UNFINISHED_COLOUR}
    return [Line2D([], [], label=label, **style) for label, style in entries.items()]


def _label_values(axes: Any, line: Sequence[float], values: Sequence[Any]) -> None:
    for number, (position, value) in enumerate(zip(line, values, strict=True)):
        text = {"color": _BEST_COLOUR, "weight": "bold", "va": "center", "bbox": _LABEL_BOX, "zorder": 4}
        axes.text(number + 0.06, position, format_value(value), **text)


def _draw_scale(axes: Any, number: int, name: str, scale: Distribution) -> None:
    axes.axvline(number, 0.04 / 1.08, 1.04 / 1.08, color="0.3", linewidth=1.0, zorder=3)
    axes.text(number, 1.06, name, ha="center", va="bottom", weight="bold")
    for tick in _ticks(scale):
        position = scale.position(tick)
        axes.plot([number - 0.03, number], [position, position], color="0.3", linewidth=1.0, zorder=3)
        text = {"ha": "right", "va": "center", "fontsize": "small", "bbox": _LABEL_BOX, "zorder": 3.9}
        axes.text(number - 0.05, position, format_value(tick), **text)


def _ticks(scale: Distribution) -> list[Any]:
    """Values to mark: both ends, and round ones between them."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if isinstance(scale, Choice):
        return list(scale.options)
    locator = LogLocator(subs=(1, 2, 5)) if scale.log else MaxNLocator(5, integer=isinstance(scale, Int))
    rounded = [value for value in locator.tick_values(scale.low, scale.high) if scale.low < value < scale.high]
    return [scale.low, *(value for value in rounded if 0.06 < scale.position(value) < 0.94), scale.high]


@pictures.style(extra="tune")
def draw_importances(importances: Mapping[str, float], path: Path, *, title: str) -> None:
    """Draw the importance of each field as a bar into a PNG.

    Raises:
      UserError: matplotlib is not installed.
    """
    figure = pictures.new_figure(7.0, 1.6 + 0.45 * len(importances), title=title)
    axes = figure.subplots()
    names, shares = list(importances)[::-1], list(importances.values())[::-1]
    bars = axes.barh(names, shares, color=pictures.COLOURS[0], height=0.6)
    axes.bar_label(bars, labels=[f"{share:.0%}" for share in shares], padding=4)
    axes.set(xlim=(0, 1.12 * max(shares)), xlabel="share in telling the best quarter of trials from the others")
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    pictures.save(figure, path)
