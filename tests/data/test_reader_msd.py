"""The taste profile of the Million Song Dataset."""

import zipfile

import polars as pl
import pytest

from piavae_jax.data.readers import delimited, read_msd
from piavae_jax.errors import UserError

USERS = ("b80344d063b5ccb3212f76538f3d9e43d87dca9e", "85c1f87fea955d09b4bec2e36aee110927aedf9a")
SONGS = ("SOAKIMP12A8C130995", "SOBBMDR12A8C13253B", "SOZZZZZ12A8C130000")
ROWS = [(USERS[0], SONGS[0], 1.0), (USERS[0], SONGS[1], 2213.0), (USERS[1], SONGS[0], 3.0)]
TRIPLETS = "".join(f"{user}\t{song}\t{plays:.0f}\n" for user, song, plays in ROWS)
TRACKS = (
    f"TRMMMYQ128F932D901<SEP>{SONGS[0]}<SEP>Björk<SEP>Jóga\n"
    f"TRMMMKD128F425225D<SEP>{SONGS[2]}<SEP>Nobody<SEP>Never played\n"
    f"TRMMMRX128F93187D9<SEP>{SONGS[1]}<SEP>Jack Johnson<SEP>The Cove <SEP> Live\r\n"
    f"TRMMMCH128F425532C<SEP>{SONGS[0]}<SEP>Björk<SEP>Jóga (again)\n"
)


@pytest.fixture(params=["text", "zip", "folder", "folder with zip"])
def path(request, tmp_path):
    if "zip" in request.param:
        with zipfile.ZipFile(tmp_path / "train_triplets.txt.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("train_triplets.txt", TRIPLETS)
    else:
        (tmp_path / "train_triplets.txt").write_text(TRIPLETS)
    names = {"text": "train_triplets.txt", "zip": "train_triplets.txt.zip"}
    return tmp_path / names[request.param] if request.param in names else tmp_path


@pytest.mark.parametrize("block", [50, 1 << 24])
def test_rows(path, monkeypatch, block):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block)
    data = read_msd(path)
    events = data.events.collect()
    assert events.schema == {"user": pl.Categorical(), "item": pl.Categorical(), "rating": pl.Float32()}
    assert events.rows() == ROWS
    assert data.titles is None
    assert data.source.startswith("MSD train_triplets.txt")


def test_titles_join_the_events(path):
    folder = path if path.is_dir() else path.parent
    (folder / "unique_tracks.txt").write_bytes(TRACKS.encode())
    data = read_msd(path)
    assert data.titles is not None
    assert data.titles.rows() == [(SONGS[0], "Björk - Jóga"), (SONGS[1], "Jack Johnson - The Cove <SEP> Live")]
    joined = data.events.join(data.titles.lazy(), on="item", how="left", maintain_order="left").collect()
    assert joined["title"].to_list() == ["Björk - Jóga", "Jack Johnson - The Cove <SEP> Live", "Björk - Jóga"]


def test_ids_sort_and_cast_as_strings(path):
    events = read_msd(path).events.collect()
    assert events["item"].cast(pl.String).to_list() == [song for _, song, _ in ROWS]
    assert events["user"].unique().sort().to_list() == sorted(USERS)


def test_file_of_another_name(tmp_path):
    path = tmp_path / "kaggle_visible_evaluation_triplets.txt"
    path.write_text(TRIPLETS.replace("\n", "\r\n"))
    assert read_msd(path).events.collect().rows() == ROWS


@pytest.mark.parametrize(
    ("line", "number"),
    [("x\ty\tmany", 2), ("x\ty", 2), ("x\ty\t1\t2", 2), ("x y 1", 2), ("x\t\t1", 2), ("x\ty\tinf", 2), ("\nx\ty\t", 3)],
)
def test_malformed_line_is_named(tmp_path, line, number):
    path = tmp_path / "train_triplets.txt"
    path.write_text(TRIPLETS.replace("\n", f"\n{line}\n", 1))
    with pytest.raises(UserError, match=rf"line {number}: expected user, item, rating separated by '\\t'"):
        read_msd(path)


def test_other_files(tmp_path):
    with pytest.raises(UserError, match=r"looked for train_triplets\.txt and train_triplets\.txt\.zip"):
        read_msd(tmp_path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UserError, match=r"other\.zip holds no train_triplets\.txt"):
        read_msd(tmp_path / "other.zip")
    (tmp_path / "train_triplets.txt").write_text("")
    with pytest.raises(UserError, match="has no rows"):
        read_msd(tmp_path)
    (tmp_path / "train_triplets.txt.zip").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match="is damaged or incomplete"):
        read_msd(tmp_path / "train_triplets.txt.zip")
