"""The Netflix Prize data, in the forms in which it circulates.

`combined_data_1.txt` to `combined_data_4.txt`, or `training_set` with a file for each movie. The content is the same:
a line `MovieID:`, then a line `CustomerID,Rating,YYYY-MM-DD` for each rating.

Reference: J. Bennett, S. Lanning: The Netflix Prize. KDD Cup and Workshop 2007.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from piavae_jax.data.interactions import Interactions
from piavae_jax.data.readers import delimited
from piavae_jax.data.readers.delimited import Layout, line_blocks, parse
from piavae_jax.data.readers.members import Member, beside, existing, opened, read_text, tar_members
from piavae_jax.errors import UserError

_RATINGS = re.compile(r"(combined_data_\d+|mv_\d+)\.txt")
_NESTED = ("training_set.tar", "training_set.tar.gz")
_TITLES = ("movie_titles.csv", "movie_titles.txt")
_LAYOUT = Layout({"user": pl.Int32, "rating": pl.UInt8, "date": pl.Date}, ",")


def read_netflix(path: str | Path) -> Interactions:
    """Read the Netflix Prize training set.

    Args:
      path: a folder or zip that holds `combined_data_*.txt`; the folder `training_set` of `mv_*.txt`,
        `training_set.tar`, or `nf_prize_dataset.tar.gz` around it; or one of the text files. Titles come from
        `movie_titles.csv` or `movie_titles.txt` there or beside it.

    Returns:
      `user` and `item` Int32, `rating` Float32 (1 to 5), `timestamp` Int64, 00:00 UTC of the day in Unix seconds;
      movies ascend, and of each movie the rows keep the order of the file.

    Raises:
      UserError: if the file is missing, damaged or of another layout, has a malformed line, or has a movie twice.
    """
    path = existing(path)
    titles: list[str] = []
    with opened(path) as members:
        parts = list(_parts(_joined(_blocks(members, titles)), path))
    neighbour = beside(path, _TITLES)
    if not titles and neighbour is not None:
        titles.append(read_text(neighbour))
    events = _assembled(parts, path).lazy()
    return Interactions(
        events.select(
            "user", "item", pl.col("rating").cast(pl.Float32), timestamp=pl.col("date").dt.epoch("s").cast(pl.Int64)
        ),
        _titles(titles[0], path) if titles else None,
        source=f"Netflix Prize {path.name}",
    )


class _Part(NamedTuple):
    """Ratings that stand one after the other."""

    movies: list[int]
    """Movies that start here, in file order."""
    rows: pl.DataFrame


def _blocks(members: Iterable[Member], titles: list[str]) -> Iterator[bytes]:
    """Lines of all ratings. Texts of titles go to `titles` on the way, because a tar is read only once."""
    for member in members:
        if _RATINGS.fullmatch(member.name):
            with closing(member.open()) as stream:
                yield from line_blocks(stream)
        elif member.name in _NESTED:
            with closing(member.open()) as stream:
                yield from _blocks(tar_members(stream, member.name), titles)
        elif member.name in _TITLES:
            titles.append(read_text(member))


def _joined(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same lines in larger blocks: most movies have too few ratings to be worth a call of polars."""
    pending: list[bytes] = []
    size = 0
    for block in blocks:
        pending.append(block)
        size += len(block)
        if size >= delimited.BLOCK_BYTES:
            yield b"".join(pending)
            pending, size = [], 0
    if pending:
        yield b"".join(pending)


def _parts(blocks: Iterable[bytes], path: Path) -> Iterator[_Part]:
    movie: int | None = None
    for block in blocks:
        part = _parse(block, movie, path)
        movie = part.movies[-1] if part.movies else movie
        yield part


def _parse(block: bytes, movie: int | None, path: Path) -> _Part:
    """Parse ratings of which the first ones are of `movie`, whose own line was in an earlier block."""
    # A colon stands in the line of a movie only, so each piece but the last ends with the id of the next one.
    *pieces, last = _without_blank_lines(block).split(b":")
    split = [piece.rpartition(b"\n") for piece in pieces]
    movies = [_movie_id(text, path) for _, _, text in split]
    ratings = [rows.strip(b"\r\n") for rows in (*(before for before, _, _ in split), last)]
    if ratings[0] and movie is None:
        raise UserError(f"{path} is not Netflix Prize data: ratings must follow a line 'MovieID:'; check the file")
    counts = [rows.count(b"\n") + 1 if rows else 0 for rows in ratings]
    items = np.repeat(np.array([movie or 0, *movies], np.int32), counts)
    body = b"\n".join(rows for rows in ratings if rows)
    rows = parse(body, _LAYOUT, source=str(path), place=lambda row: f"a rating of movie {items[row]}")
    if rows.height != len(items):
        raise UserError(f"{path} has lines of nothing but spaces: download it again")
    return _Part(movies, rows.with_columns(item=pl.Series(items)))


def _without_blank_lines(block: bytes) -> bytes:
    if b"\n\n" in block or b"\n\r\n" in block:
        return b"\n".join(line for line in block.splitlines() if line.strip()) + b"\n"
    return block


def _movie_id(text: bytes, path: Path) -> int:
    if not text.isdigit() or len(text) > 9:
        found = text.decode("utf-8", "replace")[:200]
        raise UserError(f"{path}: expected a line 'MovieID:', found {found + ':'!r}: mend it or download it again")
    return int(text)


def _assembled(parts: list[_Part], path: Path) -> pl.DataFrame:
    movies = np.array([movie for part in parts for movie in part.movies], np.int32)
    if not any(part.rows.height for part in parts):
        raise UserError(
            f"{path} is not Netflix Prize data: looked for ratings in combined_data_*.txt, mv_*.txt and {_NESTED[0]}; "
            "give the folder or archive that holds them"
        )
    distinct, counts = np.unique(movies, return_counts=True)
    if len(distinct) < len(movies):
        movie = distinct[counts > 1][0]
        raise UserError(
            f"{path} holds movie {movie} more than once: keep one of the forms of the data, or give its path"
        )
    table = pl.concat(part.rows for part in parts)
    return table if np.all(np.diff(movies) > 0) else table.sort("item", maintain_order=True)


def _titles(text: str, path: Path) -> pl.DataFrame:
    rows = [line.split(",", 2) for line in text.splitlines() if line.strip()]
    try:
        table = [(int(item), title) for item, _, title in rows]
    except ValueError as error:
        raise UserError(
            f"the movie titles of {path} must be lines 'MovieID,Year,Title' ({error}): replace them"
        ) from error
    return pl.DataFrame(table, schema={"item": pl.Int32, "title": pl.String}, orient="row")
