"""What the pictures of this library have in common: fonts, colours, axes, and how they become files."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piavae_jax.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""For things without order, such as runs; told apart with any colour vision (Okabe, Ito: Color Universal Design)."""
ORDERED_COLOURS = ("#6A3D9A", "#1B9E9E", "#E69F00")
"""For few, middling and many: purple, teal and orange, which also differ in lightness."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SEQUENTIAL = "viridis"
"""Map for amounts."""
DIVERGING = "RdBu"
"""Map for differences; its middle is zero."""
NOTE: Mapping[str, Any] = {"fontsize": 9, "color": "0.25", "linespacing": 1.5}
"""Style of explanations inside a picture."""

_STYLE = {
    "axes.prop_cycle": f"cycler('color', {list(COLOURS)})",
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "figure.titlesize": 13,
}
_DOTS_PER_INCH = 150


def new_figure(width: float, height: float, *, title: str | None = None, extra: str = "plots") -> "Figure":
    """An empty figure of so many inches, laid out without overlaps, which no window shows.

    Args:
      width: inches.
      height: inches.
      title: above all panels.
      extra: of this package, that the caller's users install for pictures.

    Raises:
      UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise _missing(extra) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    if title is not None:
        figure.suptitle(title, x=0.01, ha="left")
    return figure


@contextmanager
def style(*, extra: str = "plots") -> Iterator[None]:
    """Draw and save inside: the library's fonts and axes, whatever the user's own settings of matplotlib are.

    Also decorates a function that does both.

    Raises:
      UserError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401  what is drawn on
        from matplotlib.style import context
    except ImportError as error:
        raise _missing(extra) from error
    with context(["default", _STYLE]):
        yield


def _missing(extra: str) -> UserError:
    return UserError(f"pictures need matplotlib; install it with: pip install 'piavae-jax[{extra}]'")


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(path, format="png", dpi=_DOTS_PER_INCH, bbox_inches="tight", pad_inches=0.15)


def label_cells(axes: Any, texts: list[list[str]], *, dark: Any, size: float = 9.0) -> None:
    """Write a text into each cell of an `imshow`, white where `dark[row][column]`."""
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            color = "white" if dark[row][column] else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)


def label_counts(axis: Any) -> None:
    """Label a logarithmic axis of counts with round ones, such as 20, 50, 100."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda count, _: f"{count:,.0f}")
    axis.set_minor_formatter(NullFormatter())
