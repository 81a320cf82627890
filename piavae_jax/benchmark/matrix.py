"""All pairs of systems as a picture: who is better than whom, by how much, and how sure that is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from piavae_jax import pictures
from piavae_jax.benchmark.comparisons import oriented
from piavae_jax.benchmark.formats import format_score
from piavae_jax.evaluation import Comparison

LEVEL = 0.05
CERTAIN, LIKELY = "●", "○"
_KEY = (
    f"{CERTAIN}  p < {LEVEL} after Holm's correction over all pairs\n"
    f"{LIKELY}  only the 95 % interval excludes zero\n"
    "Colour follows the square root of a difference, so that small ones show."
)


@pictures.style()
def draw_matrix(
    means: Mapping[str, float],
    comparisons: Sequence[Comparison],
    path: Path,
    *,
    labels: Mapping[str, str],
    title: str,
) -> None:
    """Draw a cell for each ordered pair: the row's nDCG@100 minus the column's, and the means on the diagonal.

    Args:
      means: nDCG@100 by system, best first.
      comparisons: one for each pair.
      path: a PNG.
      labels: of the systems.
      title: of the data.

    Raises:
      UserError: matplotlib is not installed.
    """
    from matplotlib.colors import FuncNorm

    cells = {
        (row, column): oriented(comparisons, first, second)[0]
        for row, first in enumerate(means)
        for column, second in enumerate(means)
        if row != column
    }
    side = len(means) * (0.95 if len(means) <= 8 else 0.62)
    longest = max(len(labels[system]) for system in means)
    figure = pictures.new_figure(side + 1.7 + 0.075 * longest, side + 1.5 + 0.048 * longest)  # inches a letter
    axes = figure.subplots()
    largest = max(abs(cell.difference) for cell in cells.values()) or 1.0
    norm = FuncNorm((_root, _square), vmin=-1.5 * largest, vmax=1.5 * largest)  # short of the map's near-black ends
    image = axes.imshow(_differences(cells, len(means)), cmap=pictures.DIVERGING, norm=norm)
    _write_cells(axes, cells, list(means.values()), largest)
    _name_axes(axes, [labels[system] for system in means])
    axes.set_title(f"nDCG@100 on {title}: row minus column", loc="left", pad=14, fontsize=12)
    axes.set_xlabel(_KEY, loc="left", labelpad=10, **pictures.NOTE)
    _add_scale(figure, axes, image, largest)
    pictures.save(figure, path)


def _differences(cells: Mapping[tuple[int, int], Comparison], count: int) -> np.ndarray:
    """float64[count, count], zero on the diagonal."""
    grid = np.zeros((count, count))
    for place, cell in cells.items():
        grid[place] = cell.difference
    return grid


def _root(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.sqrt(np.abs(values))


def _square(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.square(values)


def _write_cells(
    axes: Any, cells: Mapping[tuple[int, int], Comparison], means: Sequence[float], largest: float
) -> None:
    size = 9.5 if len(means) <= 8 else 7.5
    for place, mean in enumerate(means):
        axes.text(place, place, format_score(mean), ha="center", va="center", fontsize=size, weight="bold")
    for (row, column), cell in cells.items():
        mark = _mark(cell)
        dark = abs(cell.difference) > 0.6 * largest
        color = "white" if dark else "black" if mark else "0.45"
        text = f"{format_score(cell.difference, sign=True)}\n{mark}".rstrip()
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color, linespacing=1.3)


def _mark(cell: Comparison) -> str:
    if cell.p_holm < LEVEL:
        return CERTAIN
    return LIKELY if cell.low > 0 or cell.high < 0 else ""


def _name_axes(axes: Any, labels: Sequence[str]) -> None:
    places = np.arange(len(labels))
    axes.set_yticks(places, labels)
    axes.set_xticks(places, labels, rotation=40, ha="left", rotation_mode="anchor")
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.set_xticks(places[1:] - 0.5, minor=True)
    axes.set_yticks(places[1:] - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)


def _add_scale(figure: Any, axes: Any, image: Any, largest: float) -> None:
    scale = figure.colorbar(image, ax=axes, shrink=0.7, aspect=30, pad=0.02)
    round_numbers = [digit * 10.0**power for power in range(-6, 0) for digit in (1, 5)]
    steps = [step for step in round_numbers if largest / 25 <= step <= largest]
    ticks = [*(-step for step in reversed(steps)), 0.0, *steps]
    scale.set_ticks(ticks, labels=[f"{tick:+g}".replace("0.", ".") if tick else "0" for tick in ticks])
    scale.ax.set_ylim(-largest, largest)
    scale.ax.tick_params(length=0, labelsize=8)
    scale.outline.set_visible(False)
