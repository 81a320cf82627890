"""Tables of numbers as people read them: on a page of Markdown, on the console."""

import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import polars as pl
from rich import box
from rich import table as rich_table
from rich.console import Console

from piavae_jax.analysis.harness.study import Format, Table
from piavae_jax.benchmark.formats import format_p, format_score, metric_title
from piavae_jax.benchmark.markdown import markdown_table

MOST_ROWS_SHOWN, MOST_ROWS_PRINTED = 24, 60
"""Of a table that the console shows, and the page."""
_ANY_WIDTH = 1000
_HEADINGS = {"p_value": "p", "p_holm": "p (Holm)"}
_FORMATS: Mapping[str, Format] = {"metric": metric_title, "p_value": format_p, "p_holm": format_p}
"""Of columns that mean the same in every table."""
_ERROR, _LOW, _HIGH = "_standard_error", "low", "high"


def to_markdown(table: Table) -> str:
    """A Markdown table, columns of text flush left; only its size where it is too long to be read."""
    if table.frame.height > MOST_ROWS_PRINTED:
        return f"{table.frame.height:,} rows, {', '.join(table.frame.columns)}"
    columns = columns_of(table)
    return markdown_table(list(columns), list(zip(*columns.values(), strict=True)), left=_text_columns(table.frame))


def to_rich(table: Table, console: Console) -> rich_table.Table | None:
    """A table for the console; None for one that is too long or too wide for it."""
    shown = rich_table.Table(title=table.title, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    left, columns = _text_columns(table.frame), columns_of(table)
    for place, head in enumerate(columns):
        shown.add_column(head, justify="left" if place < left else "right", overflow="fold")
    for line in zip(*columns.values(), strict=True):
        shown.add_row(*line)
    width = console.measure(shown, options=console.options.update(width=_ANY_WIDTH)).maximum
    return shown if table.frame.height <= MOST_ROWS_SHOWN and width <= console.width else None


def columns_of(table: Table) -> dict[str, list[str]]:
    """The formatted cells by heading, empty for null.

    A column and its standard error, `X` and `X_standard_error`, are shown as one, and so are the ends of an interval,
    `low` and `high`.
    """
    cells = {name: _format_column(table, name) for name in table.frame.columns}
    shown = {}
    for name, column in cells.items():
        if name == _LOW and _HIGH in cells:
            shown["95 % interval"] = _join(column, cells[_HIGH], " to ")
        elif not name.endswith(_ERROR) and not (name == _HIGH and _LOW in cells):
            shown[column_title(name)] = _join(column, cells.get(name + _ERROR, []), " ± ")
    return shown


def column_title(name: str) -> str:
    """Such as "validation nDCG@100" for "validation/ndcg@100", and "best epoch" for "best_epoch"."""
    return _HEADINGS.get(name) or " ".join(
        metric_title(word) if "@" in word else word for word in re.split("[_/]", name)
    )


def _format_column(table: Table, name: str) -> list[str]:
    column = table.frame[name]
    spec = table.formats.get(name) or _FORMATS.get(name) or _default(name, column.dtype)
    return [_format(value, spec) for value in column]


def _default(name: str, dtype: pl.DataType) -> Format:
    if dtype.is_float():
        return format_score if "@" in name else ".4f"
    return "," if dtype.is_integer() else ""


def _format(value: Any, spec: Format) -> str:
    if value is None or value != value:  # NaN differs from itself
        return ""
    return format(value, spec) if isinstance(spec, str) else spec(value)


def _join(first: list[str], second: list[str], text: str) -> list[str]:
    return [text.join(filter(None, parts)) for parts in zip_longest(first, second)]


def _text_columns(frame: pl.DataFrame) -> int:
    """How many columns, from the left, hold text."""
    texts = [dtype == pl.String for dtype in frame.dtypes]
    return texts.index(False) if False in texts else len(texts)
