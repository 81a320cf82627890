"""The Netflix Prize data in all its forms gives the same rows."""

import io
import tarfile
import zipfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piavae_jax.data.readers import delimited, read_netflix
from piavae_jax.errors import UserError

SCHEMA = {"user": pl.Int32, "item": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int64}
DAY = 86_400
# 2005-09-06 is day 13,032 after 1970-01-01.
MOVIES = {
    1: "1488844,3,2005-09-06\n822109,5,2005-05-13\n",
    2: "2059652,4,2005-09-05\n",
    17770: "822109,1,1999-12-31\n30878,4,2005-09-07\n",
}
ROWS = [
    (1488844, 1, 3.0, 13_032 * DAY),
    (822109, 1, 5.0, 12_916 * DAY),
    (2059652, 2, 4.0, 13_031 * DAY),
    (822109, 17770, 1.0, 10_956 * DAY),
    (30878, 17770, 4.0, 13_033 * DAY),
]
TITLES_TEXT = "1,2003,Dinosaur Planet\n2,NULL,Misérables, Les: Act 1, Scene 2\n17770,1994,Alien Hunter\n"
TITLES = [(1, "Dinosaur Planet"), (2, "Misérables, Les: Act 1, Scene 2"), (17770, "Alien Hunter")]


def movie_text(movie: int, end: str = "\n") -> str:
    return f"{movie}:\n{MOVIES[movie]}".replace("\n", end)


def combined_files(end: str = "\n") -> dict[str, bytes]:
    return {
        "combined_data_1.txt": (movie_text(1, end) + movie_text(2, end)).encode(),
        "combined_data_2.txt": movie_text(17770, end).encode(),
        "movie_titles.csv": TITLES_TEXT.encode("latin-1"),
        "probe.txt": b"1:\n30878\n",
        "qualifying.txt": b"1:\n1046323,2005-12-19\n",
    }


def movie_files() -> dict[str, bytes]:
    return {f"training_set/mv_{movie:07d}.txt": movie_text(movie).encode() for movie in MOVIES}


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def tar_bytes(files: dict[str, bytes], mode: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def combined_folder(folder: Path) -> Path:
    write_files(folder / "netflix", combined_files())
    return folder / "netflix"


def combined_windows(folder: Path) -> Path:
    write_files(folder / "netflix", combined_files("\r\n"))
    return folder / "netflix"


def combined_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in combined_files().items():
            archive.writestr(name, content)
    return folder / "archive.zip"


def training_folder(folder: Path) -> Path:
    write_files(folder, movie_files() | {"movie_titles.txt": TITLES_TEXT.encode("latin-1")})
    return folder / "training_set"


def folder_around_training(folder: Path) -> Path:
    return training_folder(folder).parent


def training_tar(folder: Path) -> Path:
    backwards = dict(reversed(movie_files().items()))
    write_files(
        folder, {"training_set.tar": tar_bytes(backwards, "w"), "movie_titles.txt": TITLES_TEXT.encode("latin-1")}
    )
    return folder / "training_set.tar"


def training_tar_gz(folder: Path) -> Path:
    content = tar_bytes(movie_files(), "w:gz")
    write_files(folder, {"training_set.tar.gz": content, "movie_titles.txt": TITLES_TEXT.encode("latin-1")})
    return folder / "training_set.tar.gz"


def folder_with_tar(folder: Path) -> Path:
    return training_tar(folder).parent


def outer_tar_gz(folder: Path) -> Path:
    inner = {
        "download/movie_titles.txt": TITLES_TEXT.encode("latin-1"),
        "download/training_set.tar": tar_bytes(movie_files(), "w"),
        "download/probe.txt": b"1:\n30878\n",
    }
    write_files(folder, {"nf_prize_dataset.tar.gz": tar_bytes(inner, "w:gz")})
    return folder / "nf_prize_dataset.tar.gz"


FORMS = [
    combined_folder,
    combined_windows,
    combined_zip,
    training_folder,
    folder_around_training,
    training_tar,
    training_tar_gz,
    folder_with_tar,
    outer_tar_gz,
]


@pytest.mark.parametrize("block", [5, 60, 1 << 24])
@pytest.mark.parametrize("form", FORMS)
def test_form(tmp_path, monkeypatch, form, block):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block)
    path = form(tmp_path)
    data = read_netflix(path)
    events = data.events.collect()
    assert events.schema == SCHEMA
    assert events.rows() == ROWS
    assert data.titles is not None
    assert data.titles.schema == {"item": pl.Int32, "title": pl.String}
    assert data.titles.rows() == TITLES
    assert data.source == f"Netflix Prize {path.name}"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("block", [4, 1 << 24])
def test_blank_lines_are_left_out(tmp_path, monkeypatch, end, block):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block)
    path = tmp_path / "combined_data_1.txt"
    path.write_bytes("\n1:\n\n30878,4,2005-09-07\n\n\n7,2,2005-09-07\n\n".replace("\n", end).encode())
    assert read_netflix(path).events.select("user", "item").collect().rows() == [(30878, 1), (7, 1)]


def test_one_file_and_a_movie_without_ratings(tmp_path):
    path = tmp_path / "combined_data_3.txt"
    path.write_bytes(b"7:\n9:\n30878,4,2005-09-07\n10:\n")
    data = read_netflix(path)
    assert data.events.collect().rows() == [(30878, 9, 4.0, 13_033 * DAY)]
    assert data.titles is None


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(0, 5), min_size=1, max_size=20), block=st.integers(1, 150))
def test_any_block_size_gives_the_same_rows(tmp_path_factory, counts, block):
    expected = [(100 * movie + k, movie, 1.0 + k) for movie, count in enumerate(counts, 1) for k in range(count)]
    text = "".join(
        f"{movie}:\n" + "".join(f"{100 * movie + k},{1 + k},2000-01-01\n" for k in range(count))
        for movie, count in enumerate(counts, 1)
    )
    path = tmp_path_factory.mktemp("netflix") / "combined_data_1.txt"
    path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK_BYTES", block)
        if not expected:
            with pytest.raises(UserError, match="is not Netflix Prize data"):
                read_netflix(path)
            return
        assert read_netflix(path).events.select("user", "item", "rating").collect().rows() == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"1:\n1,3,2005-09-06\n2:\n1,4,2005-09-06\n2,x,2005-09-06\n",
            r"a rating of movie 2: expected .* found '2,x,2005-09-06'",
        ),
        (b"1:\n1,3,2005-09-06\n2,3\n", r"a rating of movie 1: expected .* found '2,3'"),
        (b"1:\n1,3,2005-19-06\n", r"a rating of movie 1: expected .* found '1,3,2005-19-06'"),
        (b"1:\n1,3,2005-09-06,7\n", r"a rating of movie 1: expected .* found '1,3,2005-09-06,7'"),
        (b"1,3,2005-09-06\n1:\n", "ratings must follow a line 'MovieID:'"),
        (b"one:\n1,3,2005-09-06\n", "expected a line 'MovieID:', found 'one:'"),
        (b"99999999999:\n1,3,2005-09-06\n", "expected a line 'MovieID:', found '99999999999:'"),
        (b"1:\n1,3,2005-09-06\n  \n2,3,2005-09-06\n", "(nothing but spaces|found '  ')"),
        (b"1:\n1,3,2005-09-06\n1:\n2,3,2005-09-06\n", "holds movie 1 more than once"),
        (b"", r"looked for ratings in combined_data_\*\.txt, mv_\*\.txt and training_set\.tar"),
    ],
)
@pytest.mark.parametrize("block", [4, 1 << 24])
def test_malformed_ratings(tmp_path, monkeypatch, content, message, block):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block)
    path = tmp_path / "combined_data_1.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_netflix(path)


def test_two_forms_in_one_folder(tmp_path):
    folder_around_training(tmp_path)
    write_files(tmp_path, combined_files())
    with pytest.raises(UserError, match="holds movie 1 more than once: keep one of the forms"):
        read_netflix(tmp_path)


@pytest.mark.parametrize("form", [training_tar, training_tar_gz, outer_tar_gz, combined_zip])
@pytest.mark.parametrize("cut", [1, 5, 9])
def test_truncated_archive(tmp_path, form, cut):
    path = form(tmp_path)
    content = path.read_bytes().rstrip(b"\0")
    path.write_bytes(content[: len(content) * cut // 10])
    with pytest.raises(UserError, match=r"is damaged or incomplete .* download it again"):
        read_netflix(path)


def test_malformed_titles(tmp_path):
    write_files(tmp_path, combined_files() | {"movie_titles.csv": b"1,2003\n"})
    with pytest.raises(UserError, match=r"movie titles of .* must be lines 'MovieID,Year,Title'"):
        read_netflix(tmp_path)
