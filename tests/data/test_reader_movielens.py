"""Each published MovieLens layout, made by hand: exact values, titles, archives and mistakes."""

import zipfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piavae_jax.data.readers import delimited, read_movielens
from piavae_jax.errors import UserError

SCHEMA = {"user": pl.Int32, "item": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int64}
U_DATA = b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n196\t1\t5\t881251000\n"
U_ITEM = "1|Toy Story (1995)|01-Jan-1995||http://us|0|1\n242|Misérables, Les (1995)|01-Jan-1995||http://us|0|0\n"
RATINGS_1M = b"1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n"
MOVIES_1M = "661::James and the Giant Peach (1996)::Animation\n1193::Café: Part II (1975)::Drama|Comedy\n"
RATINGS_10M = b"1::122::4.5::838985046\n2::185::0.5::838983525\n"
RATINGS_CSV = b"userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,29,4.0,1112484676\n138493,2,0.5,1094785740\n"
MOVIES_CSV = 'movieId,title,genres\n2,Jumanji (1995),Adventure\n29,"City of Lost ""Élan"", The (1995)",Drama|Sci-Fi\n'
ROWS_CSV = [(1, 2, 3.5, 1112486027), (1, 29, 4.0, 1112484676), (138493, 2, 0.5, 1094785740)]

LAYOUTS = {
    "ml-100k": (
        {"u.data": U_DATA, "u.item": U_ITEM.encode("latin-1"), "u1.base": b"1\t1\t5\t874965758\n"},
        [(196, 242, 3.0, 881250949), (186, 302, 3.0, 891717742), (196, 1, 5.0, 881251000)],
        [(1, "Toy Story (1995)"), (242, "Misérables, Les (1995)")],
    ),
    "ml-1m": (
        {"ratings.dat": RATINGS_1M, "movies.dat": MOVIES_1M.encode("latin-1"), "users.dat": b"1::F::1::10::48067\n"},
        [(1, 1193, 5.0, 978300760), (1, 661, 3.0, 978302109), (2, 1193, 4.0, 978298413)],
        [(661, "James and the Giant Peach (1996)"), (1193, "Café: Part II (1975)")],
    ),
    "ml-10M100K": (
        {
            "ratings.dat": RATINGS_10M,
            "movies.dat": "122::Bête noire (1992)::Drama\n".encode(),
            "tags.dat": b"1::2::x::3\n",
        },
        [(1, 122, 4.5, 838985046), (2, 185, 0.5, 838983525)],
        [(122, "Bête noire (1992)")],
    ),
    "ml-20m": (
        {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV.encode(), "links.csv": b"movieId,imdbId,tmdbId\n1,2,3\n"},
        ROWS_CSV,
        [(2, "Jumanji (1995)"), (29, 'City of Lost "Élan", The (1995)')],
    ),
}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir(path.stem)
        for name, content in files.items():
            archive.writestr(f"{path.stem}/{name}", content)
            archive.writestr(f"__MACOSX/{path.stem}/._{name}", b"\x00resource fork")
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", ["folder", "folder around", "zip", "file"])
def test_layout(tmp_path, layout, form):
    files, rows, titles = LAYOUTS[layout]
    if form == "zip":
        path = write_zip(tmp_path / f"{layout}.zip", files)
    else:
        folder = write_folder(tmp_path / layout, files)
        path = {"folder": folder, "folder around": tmp_path, "file": folder / next(iter(files))}[form]
    data = read_movielens(path)
    events = data.events.collect()
    assert events.schema == SCHEMA
    assert events.rows() == rows
    assert data.titles is not None
    assert data.titles.schema == {"item": pl.Int32, "title": pl.String}
    assert data.titles.rows() == titles
    assert data.source == f"MovieLens {path.name}"


def test_windows_line_ends_blank_lines_and_no_final_line_feed(tmp_path):
    content = RATINGS_CSV.replace(b"\n", b"\r\n").replace(b"1,29", b"\r\n1,29").rstrip()
    folder = write_folder(tmp_path / "crlf", {"ratings.csv": content})
    data = read_movielens(folder)
    assert data.events.collect().rows() == ROWS_CSV
    assert data.titles is None


def test_crlf_titles_and_ratings_of_1m(tmp_path):
    files = {"ratings.dat": RATINGS_1M.replace(b"\n", b"\r\n"), "movies.dat": b"1193::Heat (1995)::Drama\r\n\r\n"}
    data = read_movielens(write_folder(tmp_path / "ml", files))
    assert data.events.collect().rows() == LAYOUTS["ml-1m"][1]
    assert data.titles is not None
    assert data.titles.rows() == [(1193, "Heat (1995)")]


def test_quoted_header_with_byte_order_mark(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_bytes(b'\xef\xbb\xbf"userId","movieId","rating","timestamp"\n1,2,3.5,4\n')
    assert read_movielens(path).events.collect().rows() == [(1, 2, 3.5, 4)]


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1), st.integers(1, 10), st.integers(0, 2**40)),
        min_size=1,
        max_size=40,
    ),
    block=st.integers(1, 200),
)
def test_any_block_size_gives_the_same_rows(tmp_path_factory, rows, block):
    path = tmp_path_factory.mktemp("blocks") / "u.data"
    path.write_text("".join(f"{user}\t{item}\t{stars / 2}\t{time}\n" for user, item, stars, time in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK_BYTES", block)
        read = read_movielens(path).events.collect().rows()
    assert read == [(user, item, stars / 2, time) for user, item, stars, time in rows]


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (b"1,29,four,5", 3),
        (b"1,29,nan,5", 3),
        (b"1,29,inf,5", 3),
        (b"1,29,4.0", 3),
        (b"1,29,4.0,5,6", 3),
        (b"1,,4.0,5", 3),
        (b"1,x29,4.0,5", 3),
        (b"1,99999999999,4.0,5", 3),
        (b"1,29,4.0,2005-01-01", 3),
        (b"\n1,29,\xff,5", 4),
    ],
)
@pytest.mark.parametrize("block", [8, 1 << 24])
def test_malformed_line_is_named(tmp_path, monkeypatch, bad, line, block):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block)
    path = tmp_path / "ratings.csv"
    path.write_bytes(RATINGS_CSV.replace(b"1,29,4.0,1112484676", bad))
    with pytest.raises(UserError, match=rf"ratings\.csv, line {line}: expected user, item, rating, timestamp") as error:
        read_movielens(path)
    assert bad.strip().decode("utf-8", "replace") in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_zip(tmp_path):
    path = write_zip(tmp_path / "ml-20m.zip", LAYOUTS["ml-20m"][0])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"ml-20m\.zip is damaged or incomplete .* download it again"):
        read_movielens(path)


def test_zip_with_a_flipped_byte(tmp_path):
    path = tmp_path / "ml-20m.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("ml-20m/ratings.csv", RATINGS_CSV)
    path.write_bytes(path.read_bytes().replace(b"1,2,3.5,", b"1,2,4.5,", 1))
    with pytest.raises(UserError, match=r"damaged or incomplete .*CRC"):
        read_movielens(path)


@pytest.mark.parametrize(("offset", "value"), [(6, 1), (8, 99)], ids=["password", "unknown compression"])
def test_zip_that_python_cannot_unpack(tmp_path, offset, value):
    path = tmp_path / "ml-20m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ratings.csv", RATINGS_CSV)
    content = bytearray(path.read_bytes())
    content[offset] = content[content.index(b"PK\x01\x02") + offset + 2] = value
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be unpacked here .* unpack it by hand and give the folder"):
        read_movielens(path)


def test_web_page_saved_as_zip(tmp_path):
    path = tmp_path / "ml-20m.zip"
    path.write_text("<html>504 Gateway Timeout</html>")
    with pytest.raises(UserError, match="damaged or incomplete"):
        read_movielens(path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"readme.txt": b"hello"}, r"looked for ratings\.csv, ratings\.dat, u\.data"),
        ({"ratings.csv": b""}, "must start with the line 'userId,movieId,rating,timestamp', found ''"),
        ({"ratings.csv": b"userId,movieId,rating,timestamp\n"}, "has no rows"),
        ({"ratings.csv": b"user,item,rating\n1,2,3\n"}, "found 'user,item,rating': try read_table"),
        ({"ratings.dat": b""}, "has no rows"),
        (
            {"ratings.dat": RATINGS_1M, "movies.dat": b"one::Heat::Drama\n"},
            r"movies\.dat in .* is not a list of movies",
        ),
        (
            {"ratings.csv": RATINGS_CSV, "movies.csv": b"id,name\n1,Heat\n"},
            r"movies\.csv in .* is not a list of movies",
        ),
    ],
)
def test_folder_of_another_kind(tmp_path, files, message):
    with pytest.raises(UserError, match=message):
        read_movielens(write_folder(tmp_path / "data", files))


def test_two_data_sets_in_one_folder(tmp_path):
    write_folder(tmp_path / "ml-20m", {"ratings.csv": RATINGS_CSV})
    write_folder(tmp_path / "ml-25m", {"ratings.csv": RATINGS_CSV})
    with pytest.raises(UserError, match=r"holds ratings\.csv more than once"):
        read_movielens(tmp_path)


def test_missing_path_and_unknown_file(tmp_path):
    with pytest.raises(UserError, match="does not exist: check the path, or download"):
        read_movielens(tmp_path / "none.zip")
    (tmp_path / "ratings.xlsx").write_bytes(b"x")
    with pytest.raises(UserError, match="is not a MovieLens data set"):
        read_movielens(tmp_path / "ratings.xlsx")
