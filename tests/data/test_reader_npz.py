"""The NumPy format, hand-made and as in `../shared/data`."""

import numpy as np
import polars as pl
import pytest

from piavae_jax.data.readers import read_npz
from piavae_jax.errors import UserError

ARRAYS = {
    "users": np.array([7, 7, 9], np.int32),
    "items": np.array([100, 3, 100], np.int32),
    "ratings": np.array([9, 1, 10], np.int8),
    "timestamps": np.array([5, 6, 2**33], np.int64),
}


def write(folder, name="set", **changes):
    arrays = {key: array for key, array in (ARRAYS | changes).items() if array is not None}
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    return folder / f"{name}.npz"


def test_all_columns(tmp_path):
    data = read_npz(write(tmp_path))
    events = data.events.collect()
    assert events.schema == {"user": pl.Int32, "item": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int64}
    assert events.rows() == [(7, 100, 4.5, 5), (7, 3, 0.5, 6), (9, 100, 5.0, 2**33)]
    assert data.titles is None
    assert data.source == "set.npz"


def test_implicit_and_plays(tmp_path):
    implicit = read_npz(write(tmp_path, ratings=None, timestamps=None)).events.collect()
    assert implicit.rows() == [(7, 100), (7, 3), (9, 100)]
    plays = read_npz(write(tmp_path, ratings=None, timestamps=None, plays=np.array([1, 40, 2213], np.int32)))
    assert plays.events.collect()["rating"].to_list() == [1.0, 40.0, 2213.0]


@pytest.mark.parametrize(
    ("name", "items_name"),
    [("set", "set_items.csv"), ("ml20m_te20", "ml20m_items.csv"), ("netflix800", "netflix_items.csv")],
)
def test_titles_beside(tmp_path, name, items_name):
    (tmp_path / items_name).write_text('item,title,genres\n3,"Élan, The",Drama\n100,Heat,Crime\n')
    titles = read_npz(write(tmp_path, name)).titles
    assert titles is not None
    assert titles.schema == {"item": pl.Int32, "title": pl.String}
    assert titles.rows() == [(3, "Élan, The"), (100, "Heat")]


def test_named_titles_and_another_label(tmp_path):
    (tmp_path / "songs.csv").write_text("item,song_id\n3,SOAAAGQ\n")
    titles = read_npz(write(tmp_path), items_csv=tmp_path / "songs.csv").titles
    assert titles is not None
    assert titles.rows() == [(3, "SOAAAGQ")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,title\n3,Heat\n", "item"),
        ("item\n3\n", "columns item and title"),
        ("item,title\nx,Heat\n", "item"),
        ("", "CSV"),
    ],
)
def test_malformed_titles(tmp_path, content, message):
    (tmp_path / "set_items.csv").write_text(content)
    with pytest.raises(UserError, match=rf"set_items\.csv must be a CSV file .*{message}"):
        read_npz(write(tmp_path))


def test_missing_files(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_npz(tmp_path / "none.npz")
    with pytest.raises(UserError, match=r"other\.csv does not exist"):
        read_npz(write(tmp_path), items_csv=tmp_path / "other.csv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": None}, "has no array users, found items, ratings, timestamps"),
        ({"users": None, "items": None}, "has no array users and items"),
        ({"items": np.array([1.0, 2.0, 3.0])}, "items must hold a whole number for each of the 3 rows, got float64"),
        ({"ratings": np.array([1, 2], np.int8)}, r"ratings must hold .* 3 rows, got int8 of shape \(2,\)"),
        ({"users": np.array(["a", "b", "c"])}, "users must hold a whole number"),
        ({"timestamps": np.zeros((3, 1), np.int64)}, r"timestamps must hold .* shape \(3, 1\)"),
        ({key: array[:0] for key, array in ARRAYS.items()}, "has no rows"),
        ({"users": np.array([{}, {}, {}], object)}, "is not an intact .npz file"),
    ],
)
def test_malformed_arrays(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        read_npz(write(tmp_path, **changes))


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "npy", "empty"])
def test_damaged_file(tmp_path, damage):
    path = write(tmp_path)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[content.index(b"users.npy") + 60] ^= 0xFF
    if damage == "npy":
        with path.open("wb") as file:
            np.save(file, ARRAYS["users"])
    else:
        path.write_bytes({"cut": content[:-30], "flip": bytes(flipped), "text": b"hello", "empty": b""}[damage])
    with pytest.raises(UserError, match=r"set\.npz is not an intact \.npz file"):
        read_npz(path)


# Users, items and rows, from the table in ../shared/data/README.md.
COUNTS = {
    "ml1m": (6_040, 3_706, 1_000_209),
    "ml100k": (943, 1_682, 100_000),
    "ml_latest_small": (671, 9_066, 100_004),
    "ml20m_te20": (20_000, 9_617, 282_289),
    "netflix800": (800, 1_336, 94_931),
    "msd_sample": (1_630, 9_071, 42_739),
    "goodbooks_v1": (53_424, 10_000, 979_478),
    "amazon_book": (70_679, 24_915, 846_434),
    "amazon_cd": (22_947, 18_395, 422_301),
    "citeulike_a": (5_551, 16_980, 204_986),
}
UNTITLED = {"amazon_book", "amazon_cd", "citeulike_a"}


@pytest.mark.parametrize("name", COUNTS)
def test_shared_data(shared_data, name):
    data = read_npz(shared_data / f"{name}.npz")
    counts = data.events.select(pl.col("user", "item").n_unique(), rows=pl.len()).collect().row(0)
    assert counts == COUNTS[name]
    assert (data.titles is None) == (name in UNTITLED)
    if data.titles is not None:
        untitled = data.events.unique("item").join(data.titles.lazy(), on="item", how="anti").collect()
        assert untitled.is_empty()


def test_shared_ratings_are_stars(shared_data):
    ratings = read_npz(shared_data / "ml_latest_small.npz").events.select("rating").collect().to_series()
    assert ratings.unique().sort().to_list() == [half / 2 for half in range(1, 11)]
    positives = read_npz(shared_data / "ml100k.npz").events.filter(pl.col("rating") >= 4).collect()
    assert positives.height == 55_375
