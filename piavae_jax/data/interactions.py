"""Interaction logs as the readers yield them, and the cleaning that every protocol starts from."""

from dataclasses import dataclass

import polars as pl


@dataclass
class Interactions:
    """One data set as published: a row for each event, in the order of the source file."""

    events: pl.LazyFrame
    """Columns `user` and `item` (integers or strings), optional `rating` (Float32), optional `timestamp`
    (Int64, Unix seconds). Rows keep the order of the source file: protocols depend on it."""
    titles: pl.DataFrame | None = None
    """Columns `item` (same type as in `events`) and `title`."""
    source: str = ""
    """What was read, for the manifest: the reader and the name of the file, without its folder."""
