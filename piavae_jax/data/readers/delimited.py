"""Delimited text of a known layout, parsed by polars in line-aligned blocks.

Blocks bound the memory, and one code path serves files and members of archives, which are never unpacked to disk.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO

import polars as pl

from piavae_jax.errors import UserError

BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class Layout:
    """What a line of the file holds."""

    columns: Mapping[str, type[pl.DataType]]
    """All columns in file order; those whose name starts with `_` are not parsed."""
    separator: str
    """One byte."""
    header: str | None = None
    """The first line, if the file has one that names the columns."""

    @property
    def wanted(self) -> dict[str, type[pl.DataType]]:
        """The columns that are parsed."""
        return {name: dtype for name, dtype in self.columns.items() if not name.startswith("_")}


def line_blocks(stream: IO[bytes], size: int | None = None) -> Iterator[bytes]:
    """Blocks of about `size` bytes (by default `BLOCK_BYTES`) that each end with a line feed."""
    rest = b""
    while piece := stream.read(size or BLOCK_BYTES):
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join((rest, memoryview(piece)[:end]))
            rest = b""
        rest += piece[end:]
    if rest:
        yield rest + b"\n"


def read_delimited(stream: IO[bytes], layout: Layout, *, source: str) -> pl.DataFrame:
    """Parse a stream of lines.

    Args:
      stream: the bytes of the file.
      layout: its columns.
      source: what error messages call the file.

    Returns:
      The wanted columns, a row for each line that is not blank, in file order; no value is missing.

    Raises:
      UserError: for an empty file, another header than expected, or a line that does not fit the layout.
    """
    blocks = line_blocks(stream)
    line = 1
    if layout.header is not None:
        blocks, line = _without_header(blocks, layout.header, source=source), 2
    frames = []
    for block in blocks:
        frames.append(parse(block, layout, source=source, place=lambda row, line=line: f"line {line + row:,}"))  # type: ignore[misc]
        line += block.count(b"\n")
    if not any(frame.height for frame in frames):
        raise UserError(f"{source} has no rows: check that it is whole, or download it again")
    return pl.concat(frames)


def parse(block: bytes, layout: Layout, *, source: str, place: Callable[[int], str]) -> pl.DataFrame:
    """Parse one block; blank lines are left out.

    Args:
      block: whole lines.
      layout: their columns.
      source: what error messages call the file.
      place: what they call the line at an index of the block.

    Raises:
      UserError: with the place of the first line that does not fit the layout.
    """
    # polars counts the columns of the first line alone, so that line is one that names them all.
    names = layout.separator.join(layout.columns).encode() + b"\n"
    scan = pl.scan_csv(names + block, schema=dict(layout.columns), separator=layout.separator, quote_char=None)
    try:
        frame = scan.select(layout.wanted.keys()).collect()
    except pl.exceptions.PolarsError as error:
        _refuse_first_misfit(block, layout, source=source, place=place)
        reason = str(error).split("\n", 1)[0]
        raise UserError(f"{source} cannot be read from {place(0)} on ({reason}): check the file") from error
    if _is_complete(frame):
        return frame
    _refuse_first_misfit(block, layout, source=source, place=place)
    return frame.filter(~pl.all_horizontal(pl.all().is_null()))


def _without_header(blocks: Iterator[bytes], header: str, *, source: str) -> Iterator[bytes]:
    first, _, body = next(blocks, b"").partition(b"\n")
    found = first.decode("utf-8-sig", "replace").strip().replace('"', "")
    if found != header:
        raise UserError(f"{source} must start with the line {header!r}, found {found[:200]!r}: try read_table")
    yield body
    yield from blocks


def _is_complete(frame: pl.DataFrame) -> bool:
    floats = [column for column in frame if column.dtype.is_float()]
    return not any(frame.null_count().row(0)) and all(column.is_finite().all() for column in floats)


def _refuse_first_misfit(block: bytes, layout: Layout, *, source: str, place: Callable[[int], str]) -> None:
    lines = pl.Series("line", block.decode("utf-8", "replace").split("\n")).str.strip_chars_end("\r")
    misfits = lines.to_frame().select(_is_misfit(layout)).to_series().arg_true()
    if len(misfits):
        raise UserError(
            f"{source}, {place(misfits[0])}: expected {', '.join(layout.wanted)} separated by "
            f"{layout.separator!r}, found {lines[misfits[0]][:200]!r}: mend the line or download the file again"
        )


def _is_misfit(layout: Layout) -> pl.Expr:
    """Whether a `line` is not blank and does not fit."""
    fields = pl.col("line").str.split(layout.separator)
    fits = [fields.list.len() == len(layout.columns)]
    for position, name in enumerate(layout.columns):
        if name in layout.wanted:
            fits.append(_is_valid(fields.list.get(position, null_on_oob=True), layout.columns[name]))
    return (pl.col("line").str.strip_chars() != "") & ~pl.all_horizontal(fits)


def _is_valid(text: pl.Expr, dtype: type[pl.DataType]) -> pl.Expr:
    """Whether a text is a value of the type: not empty, and finite if it is a number."""
    text = text.str.strip_chars()
    value = text.str.to_date(strict=False) if dtype is pl.Date else text.cast(dtype, strict=False)
    valid = value.is_finite() if dtype.is_float() else value.is_not_null() & (text != "")
    return valid.fill_null(False)
