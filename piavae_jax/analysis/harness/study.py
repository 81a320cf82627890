"""What a study is: a question put to trained runs, and the tables, pictures and sentences that answer it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import polars as pl

from piavae_jax.analysis.harness.material import Material

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw: TypeAlias = Callable[[], "Figure"]
"""Draws a picture; called in `pictures.style()`, and not at all where matplotlib is missing."""

Format: TypeAlias = str | Callable[[Any], str]
"""How people read a value: as in `format(value, "+.1%")`, or a function."""


class Table(NamedTuple):
    """Numbers: a CSV file, and a table on the page and the console."""

    title: str
    """Says what the numbers are."""
    frame: pl.DataFrame
    """Columns in snake case or metric labels such as "ndcg@100", those of text first; null where there is no value."""
    formats: Mapping[str, Format] = MappingProxyType({})
    """By column; ".4f" for other columns of floats."""


class Picture(NamedTuple):
    """A PNG file."""

    caption: str
    draw: Draw


class Findings(NamedTuple):
    """What a study yields. Files are named after the keys, beside `NAME.md`, the page that shows all of it."""

    sentences: tuple[str, ...]
    """What was found, in words with numbers, the paper's claim beside it; then how each number is defined. A capital
    letter in front, a full stop behind."""
    tables: Mapping[str, Table]
    """By file stem: at least one, and one of the same stem for each picture."""
    pictures: Mapping[str, Picture] = MappingProxyType({})
    """By file stem."""


class Need(NamedTuple):
    """Something that a study cannot do without."""

    name: str
    """Such as "a run"."""
    unmet: Callable[[Material], str]
    """Why it is not met and what to pass, in a sentence without full stop; empty where it is met. Restores nothing."""


class Study(NamedTuple):
    """One figure, table or claim."""

    name: str
    """Names its folder and, in `--only`, itself."""
    title: str
    needs: tuple[Need, ...]
    run: Callable[[Material], Findings]
    """Must not write; may tell through the material how far it is."""
