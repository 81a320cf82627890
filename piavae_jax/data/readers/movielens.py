"""MovieLens as GroupLens publishes it: 100K, 1M, 10M, 20M, 25M, 32M, latest and latest-small.

Reference: F. M. Harper, J. A. Konstan: The MovieLens Datasets: History and Context. ACM TiiS 5(4), 2015.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from piavae_jax.data.interactions import Interactions
from piavae_jax.data.readers.delimited import Layout, read_delimited
from piavae_jax.data.readers.members import Member, beside, existing, find, is_archive, opened, read_text
from piavae_jax.errors import UserError

_COLUMNS = {"user": pl.Int32, "item": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int64}
_CSV = Layout(_COLUMNS, ",", header="userId,movieId,rating,timestamp")
_TABS = Layout(_COLUMNS, "\t")
# polars takes one byte as separator, so "::" is ":" with an empty column between each two.
_COLONS = Layout(
    {"user": pl.Int32, "_1": pl.String, "item": pl.Int32, "_2": pl.String}
    | {"rating": pl.Float32, "_3": pl.String, "timestamp": pl.Int64},
    ":",
)


def read_movielens(path: str | Path) -> Interactions:
    """Read a MovieLens data set of any published layout.

    Args:
      path: the zip, the unpacked folder, or the ratings file (`u.data`, `ratings.dat` or `ratings.csv`; the titles
        are then those in `u.item`, `movies.dat` or `movies.csv` next to it).

    Returns:
      `user` and `item` Int32, `rating` Float32 in stars (0.5 to 5), `timestamp` Int64 in Unix seconds.

    Raises:
      UserError: if the file is missing, damaged or of another layout, or has a malformed line.
    """
    path = existing(path)
    with opened(path) as members:
        if path.is_file() and not is_archive(path):
            release = _release(path, lambda candidate: path.suffix == Path(candidate.ratings).suffix)
            return _read(path, release, next(members), beside(path, [release.movies]))
        names = [name for release in _RELEASES for name in (release.ratings, release.movies)]
        found = find(members, names, path=path)
        release = _release(path, lambda candidate: candidate.ratings in found)
        return _read(path, release, found[release.ratings], found.get(release.movies))


@dataclass(frozen=True)
class _Release:
    ratings: str
    movies: str
    layout: Layout
    titles: Callable[[str], pl.DataFrame]


def _release(path: Path, fits: Callable[[_Release], bool]) -> _Release:
    for release in _RELEASES:
        if fits(release):
            return release
    looked_for = ", ".join(release.ratings for release in _RELEASES)
    raise UserError(
        f"{path} is not a MovieLens data set: looked for {looked_for}; give the published zip or its folder"
    )


def _read(path: Path, release: _Release, ratings: Member, movies: Member | None) -> Interactions:
    with closing(ratings.open()) as stream:
        events = read_delimited(stream, release.layout, source=_inside(path, ratings))
    titles = None if movies is None else _titles(path, release, movies)
    return Interactions(events.lazy(), titles, source=f"MovieLens {path.name}")


def _titles(path: Path, release: _Release, movies: Member) -> pl.DataFrame:
    try:
        return release.titles(read_text(movies))
    except (pl.exceptions.PolarsError, ValueError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UserError(f"{_inside(path, movies)} is not a list of movies ({reason}): download it again") from error


def _inside(path: Path, member: Member) -> str:
    return str(path) if path.name == member.name else f"{member.name} in {path}"


def _titles_csv(text: str) -> pl.DataFrame:
    scan = pl.scan_csv(text.encode(), schema_overrides={"movieId": pl.Int32}, infer_schema=False)
    return scan.select(item="movieId", title="title").collect()


def _titles_split(separator: str, text: str) -> pl.DataFrame:
    rows = [line.split(separator, 2)[:2] for line in text.split("\n") if line.strip()]
    schema = {"item": pl.Int32, "title": pl.String}
    return pl.DataFrame([(int(item), title) for item, title in rows], schema=schema, orient="row")


_RELEASES = (
    _Release("ratings.csv", "movies.csv", _CSV, _titles_csv),
    _Release("ratings.dat", "movies.dat", _COLONS, partial(_titles_split, "::")),
    _Release("u.data", "u.item", _TABS, partial(_titles_split, "|")),
)
