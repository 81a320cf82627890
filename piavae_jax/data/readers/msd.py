"""The Echo Nest taste profile of the Million Song Dataset: (user, song, play count) triplets.

Reference: B. McFee, T. Bertin-Mahieux, D. P. W. Ellis, G. R. G. Lanckriet: The Million Song Dataset Challenge. 2012.
"""

from contextlib import closing
from pathlib import Path

import polars as pl

from piavae_jax.data.interactions import Interactions
from piavae_jax.data.readers.delimited import Layout, read_delimited
from piavae_jax.data.readers.members import Member, beside, existing, find, opened, read_text
from piavae_jax.errors import UserError

_TRIPLETS = "train_triplets.txt"
_TRACKS = "unique_tracks.txt"
_LAYOUT = Layout({"user": pl.Categorical, "item": pl.Categorical, "rating": pl.Float32}, "\t")


def read_msd(path: str | Path) -> Interactions:
    """Read the taste profile.

    Ids are `Categorical`, 4 bytes a row instead of 16 and the text. They sort by their text, join with any other
    `Categorical`, and `cast(pl.String)` gives strings.

    Args:
      path: `train_triplets.txt` under any name, its zip, or the folder that holds either. Titles are read from
        `unique_tracks.txt` next to it, if that is there.

    Returns:
      `user` and `item` Categorical, `rating` Float32, the play count.

    Raises:
      UserError: if the file is missing, damaged or of another layout, or has a malformed line.
    """
    path = _triplets_file(existing(path))
    with opened(path) as members:
        found = find(members, [_TRIPLETS, path.name], path=path)
        if not found:
            raise UserError(f"{path} holds no {_TRIPLETS}: give the published {_TRIPLETS}.zip or what is in it")
        with closing(next(iter(found.values())).open()) as stream:
            events = read_delimited(stream, _LAYOUT, source=str(path))
    tracks = beside(path, [_TRACKS])
    titles = None if tracks is None else _titles(tracks, events["item"])
    return Interactions(events.lazy(), titles, source=f"MSD {path.name}")


def _triplets_file(path: Path) -> Path:
    if path.is_file():
        return path
    for candidate in (path / _TRIPLETS, path / f"{_TRIPLETS}.zip"):
        if candidate.is_file():
            return candidate
    raise UserError(
        f"{path} is not a taste profile: looked for {_TRIPLETS} and {_TRIPLETS}.zip; give the published file"
    )


def _titles(tracks: Member, items: pl.Series) -> pl.DataFrame:
    """Artist and title of the first track of each song in `items`; a line is track, song, artist, title."""
    lines = pl.DataFrame({"line": read_text(tracks).split("\n")}).lazy()
    fields = lines.select(pl.col("line").str.strip_chars_end("\r").str.splitn("<SEP>", 4)).unnest("line")
    songs = fields.select(
        item=pl.col("field_1").cast(pl.Categorical),
        title=pl.concat_str("field_2", "field_3", separator=" - ", ignore_nulls=True),
    )
    heard = songs.join(pl.LazyFrame({"item": items.unique()}), on="item", how="semi")
    return heard.unique("item", keep="first", maintain_order=True).collect()
