import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from piavae_jax import cli
from piavae_jax.data import prepare
from piavae_jax.data.liang_csv import read_liang_csv
from piavae_jax.data.prepare import sources
from piavae_jax.data.prepared import load_prepared
from piavae_jax.data.protocol import StrongGeneralization

ROOT = Path(__file__).parents[2]


def _order(user: int, items: int) -> list[int]:
    return [(user + position) % items + 1 for position in range(items)]


def _log(users: int = 40, items: int = 12) -> pl.DataFrame:
    """Ratings 1 to 5 at rising times; a quarter of the rows has each of 2, 3, 4 and 5 stars."""
    pairs = [(user, item) for user in range(1, users + 1) for item in _order(user, items)]
    numbers = np.arange(len(pairs))
    return pl.DataFrame(pairs, schema=["userId", "movieId"], orient="row").with_columns(
        rating=pl.Series(2.0 + numbers % 4), timestamp=pl.Series(1_000_000 + numbers)
    )


@pytest.fixture
def folder(tmp_path):
    """A folder in the layout of ml-20m, and the same as zip, CSV and npz."""
    log = _log()
    (tmp_path / "ml-mine").mkdir()
    log.write_csv(tmp_path / "ml-mine" / "ratings.csv")
    movies = pl.DataFrame(
        {"movieId": range(1, 13), "title": [f"Movie {n}" for n in range(1, 13)], "genres": ["-"] * 12}
    )
    movies.write_csv(tmp_path / "ml-mine" / "movies.csv")
    with zipfile.ZipFile(tmp_path / "ml-mine.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("ratings.csv", "movies.csv"):
            archive.write(tmp_path / "ml-mine" / name, f"ml-mine/{name}")
    np.savez(tmp_path / "log.npz", users=log["userId"].to_numpy(), items=log["movieId"].to_numpy())
    return tmp_path


def _run(*arguments) -> None:
    prepare.main([str(argument) for argument in arguments])


def _fails(capsys, *arguments) -> str:
    """The one line that the command prints before it ends with status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        cli.run(lambda: _run(*arguments))
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def _table(path, *options, out) -> list:
    names = ("--user-column", "userId", "--item-column", "movieId", "--rating-column", "rating")
    return ["table", "--input", path, *names, "--out", out, *options]


@pytest.mark.parametrize("name", ["ml-mine", "ml-mine.zip", "ml-mine/ratings.csv"])
def test_movielens(folder, capsys, name):
    _run("movielens", "--input", folder / name, "--out", folder / "out" / "mine", "--heldout-users", 3)
    dataset = load_prepared(folder / "out" / "mine")
    assert dataset.name == "mine"
    assert dataset.manifest.parameters["min_rating"] == 4
    assert dataset.manifest.dropped["below_min_rating"] == 240
    assert (dataset.num_users, dataset.num_items, len(dataset.test.users)) == (40, 12, 3)
    assert set(dataset.items["title"]) == {f"Movie {n}" for n in range(1, 13)}
    printed = capsys.readouterr().out
    assert "mine: 40 users, 12 items" in printed
    assert f"next: python bin/train.py --config configs/own.py --config.data.path={folder / 'out' / 'mine'}" in printed


def test_a_tenth_of_the_users_is_held_out_and_it_says_so(folder, capsys):
    _run("npz", "--input", folder / "log.npz", "--out", folder / "out")
    assert "a tenth of the users" in capsys.readouterr().out
    assert len(load_prepared(folder / "out").validation.users) == 4


def test_the_published_settings_are_the_defaults_of_a_known_data_set(folder, capsys, monkeypatch):
    log = _log()
    published = sources.SPLITS[0]._replace(raw="mine", protocol=StrongGeneralization(7))
    monkeypatch.setattr(sources, "SPLITS", (published,))
    monkeypatch.setattr(sources, "raw_by_rows", lambda raw: "mine" if raw.rows == log.height else None)
    _run("movielens", "--input", folder / "ml-mine", "--out", folder / "out")
    assert len(load_prepared(folder / "out").test.users) == 7
    assert "a tenth of the users" not in capsys.readouterr().out


def test_msd_has_its_own_minimums(folder, capsys):
    rows = [f"u{user}\ts{item}\t{1 + item % 3}" for user in range(230) for item in range(21)]
    (folder / "train_triplets.txt").write_text("\n".join([*rows, "u999\ts1\t4"]) + "\n")
    _run("msd", "--input", folder / "train_triplets.txt", "--out", folder / "out", "--heldout-users", 5)
    parameters = load_prepared(folder / "out").manifest.parameters
    assert (parameters["min_users_per_item"], parameters["min_items_per_user"]) == (200, 20)
    assert load_prepared(folder / "out").manifest.dropped["users_with_few_items"] == 1
    arguments = ("msd", "--input", folder / "train_triplets.txt", "--out", folder / "other")
    assert "no user is left" in _fails(capsys, *arguments, "--min-users-per-item", 300)


def test_leave_last_out_and_random(folder):
    _run("movielens", "--input", folder / "ml-mine", "--out", folder / "last", "--protocol", "leave-last-out")
    dataset = load_prepared(folder / "last")
    assert dataset.manifest.protocol == "leave_last_out"
    assert dataset.items["item_id"].gather(dataset.test.target.indices).to_list() == [
        _order(user, 12)[-1] for user in range(1, 41)
    ]
    options = (
        "--protocol",
        "random",
        "--validation-fraction",
        0.25,
        "--test-fraction",
        0.5,
        "--seed",
        4,
        "--min-rating",
        1,
    )
    _run("movielens", "--input", folder / "ml-mine", "--out", folder / "random", *options)
    manifest = load_prepared(folder / "random").manifest
    assert (manifest.counts.validation.target_interactions, manifest.counts.test.target_interactions) == (120, 240)
    assert manifest.seed == 4


def test_a_window_of_time(folder, capsys):
    log = _log()
    source = ("movielens", "--input", folder / "ml-mine", "--min-rating", 1, "--min-items-per-user", 1)
    window = ("--since", "1970-01-12T13:46:50", "--until", 1_000_200)  # times 1,000,010 to 1,000,199
    _run(*source, *window, "--out", folder / "out", "--heldout-users", 2)
    manifest = load_prepared(folder / "out").manifest
    expected = log.filter(pl.col("timestamp").is_between(1_000_010, 1_000_199))
    assert manifest.counts.interactions == expected.height == 190
    assert manifest.counts.users == expected["userId"].n_unique()
    assert manifest.raw.rows == log.height
    assert manifest.parameters["since"] == "1970-01-12T13:46:50+00:00"
    assert manifest.parameters["until"] == "1970-01-12T13:50:00+00:00"
    assert manifest.dropped["outside_window"] == log.height - 190
    printed = capsys.readouterr().out
    assert "dropped: outside_window" in printed
    assert "1970-01-12T13:50:00+00:00" in printed
    late = ("--since", "1990-01-01", "--out", folder / "none")
    assert "its times run from 1970-01-12T13:46:40+00:00 to 1970-01-12T13:54:39+00:00" in _fails(capsys, *source, *late)
    assert not (folder / "none").exists()
    csv = ("liang-csv", "--input", folder, "--since", "1990-01-01", "--out", folder / "none")
    assert "unrecognized arguments: --since" in _fails(capsys, *csv)


def test_a_window_of_generated_and_of_known_data(folder, monkeypatch):
    sizes = ("--users", 60, "--items", 30, "--interactions", 420)
    _run("generate", *sizes, "--out", folder / "whole", "--protocol", "leave-last-out")
    _run("generate", *sizes, "--out", folder / "part", "--since", "2021-04-01", "--min-items-per-user", 1)
    whole, part = (load_prepared(folder / name).manifest for name in ("whole", "part"))
    assert whole.raw == part.raw
    assert part.counts.interactions == 420 - part.dropped["outside_window"]
    assert 100 < part.dropped["outside_window"] < 320  # the median time is at the start of April 2021
    published = sources.SPLITS[0]._replace(raw="mine", protocol=StrongGeneralization(7))
    monkeypatch.setattr(sources, "SPLITS", (published,))
    monkeypatch.setattr(sources, "raw_by_rows", lambda raw: "mine")
    _run("movielens", "--input", folder / "ml-mine", "--out", folder / "known", "--since", 0)
    assert len(load_prepared(folder / "known").test.users) == 4  # a tenth: the published number is of the whole


def test_table_in_its_many_forms(folder):
    log = _log()
    log.write_csv(folder / "log.tsv", separator="\t")
    log.write_csv(folder / "log.txt", separator=";")
    log.write_parquet(folder / "log.parquet")
    for name, options in (("log.tsv", []), ("log.txt", ["--separator", ";"]), ("log.parquet", [])):
        _run(*_table(folder / name, *options, "--min-rating", 4, "--overwrite", out=folder / "out"))
        assert load_prepared(folder / "out").manifest.counts.interactions == 240
    arguments = _table(folder / "log.tsv", "--name", "other", "--overwrite", out=folder / "out")
    _run("csv", *arguments[1:])
    assert load_prepared(folder / "out").name == "other"
    assert load_prepared(folder / "out").manifest.counts.interactions == 480


def test_npz_with_titles(folder):
    titles = folder / "titles.csv"
    titles.write_text("item,title\n1,One\n")
    _run("npz", "--input", folder / "log.npz", "--items-csv", titles, "--out", folder / "out")
    assert dict(load_prepared(folder / "out").items.iter_rows())[1] == "One"


def test_liang_csv_there_and_back(folder):
    arguments = ("npz", "--input", folder / "log.npz", "--out", folder / "out", "--heldout-users", 5)
    _run(*arguments, "--export-liang-csv", folder / "csv")
    dataset = load_prepared(folder / "out")
    assert read_liang_csv(folder / "csv", name="x").manifest.counts.test == dataset.manifest.counts.test
    _run("liang-csv", "--input", folder / "csv", "--out", folder / "back")
    back = load_prepared(folder / "back")
    assert back.vocabulary_digest == dataset.vocabulary_digest
    np.testing.assert_array_equal(back.test.target.indices, dataset.test.target.indices)


def test_generate(folder):
    sizes = ("--users", 200, "--items", 60, "--interactions", 2_000)
    _run("generate", *sizes, "--seed", 1, "--out", folder / "one")
    _run("generate", *sizes, "--seed", 1, "--split-seed", 3, "--out", folder / "two")
    _run("generate", *sizes, "--protocol", "leave-last-out", "--out", folder / "three")
    one, two, three = (load_prepared(folder / name) for name in ("one", "two", "three"))
    assert one.manifest.counts.interactions == 2_000
    assert (one.manifest.seed, two.manifest.seed) == (98765, 3)
    assert one.manifest.source == two.manifest.source == "generated, 200 users, 60 items, seed 1"
    assert three.manifest.counts.test.users == 200


def test_published_sizes_are_compared(shared_data, tmp_path, capsys):
    _run("npz", "--input", shared_data / "ml100k.npz", "--min-rating", 4, "--out", tmp_path / "ml100k")
    printed = capsys.readouterr().out
    for what in ("raw rows", "raw users", "raw items"):
        (line,) = [line for line in printed.splitlines() if what in line]
        assert "yes" in line
    _run("npz", "--input", shared_data / "ml1m.npz", "--out", tmp_path / "x", "--name", "ml-100k")
    assert "published sizes" in capsys.readouterr().out
    _run("npz", "--input", shared_data / "amazon_book.npz", "--out", tmp_path / "amazon_book")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "raw rows" in line]
    assert "847,733" in line
    assert "846,434" in line
    assert "NO" in line


def _broken(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


HEADER = "userId,movieId,rating,timestamp\n"


@pytest.mark.parametrize(
    ("text", "movielens", "table"),
    [
        ("", "must start with the line", "is empty"),
        (HEADER, "has no rows", "has no rows"),
        ("user,item\n1,2\n", "must start with the line", "has no column 'userId'"),
        (HEADER + "1,2,4.0,5\n1,2,high,5\n", "line 3: expected user, item, rating", "line 3: the rating must be a"),
        (HEADER + "1,2,4.0,5\n1,2\n", "line 3: expected user, item, rating", "line 3: the rating must be"),
        (HEADER + "1,2,4.0,5\n,2,4.0,6\n", "line 3: expected user, item, rating", "line 3: the user must be"),
        (
            HEADER + "1,2,4.0,5\n2,2,nan,6\n",
            "line 3: expected user, item, rating",
            "line 3: the rating must be a finite",
        ),
        (HEADER + "1,2,4.0,5\n2,2,-1.0,6\n", "negative ratings (1, the first is data row 2)", "negative ratings (1, "),
        (HEADER + "1,2,1.0,5\n", "none of 1 rows has a rating of 4.0 or more", "none of 1 rows has a rating of 4.0"),
        (HEADER + "1,2,4.0,5\n", "no user is left after the filters", "no user is left after the filters"),
    ],
)
def test_a_bad_log_is_one_line_and_nothing_is_written(folder, capsys, text, movielens, table):
    path = _broken(folder, "ratings.csv", text)
    before = sorted(folder.rglob("*"))
    assert movielens in _fails(capsys, "movielens", "--input", path, "--out", folder / "out")
    assert table in _fails(capsys, *_table(path, "--min-rating", 4, out=folder / "out"))
    assert sorted(folder.rglob("*")) == before


def test_a_truncated_zip(folder, capsys):
    content = (folder / "ml-mine.zip").read_bytes()
    (folder / "ml-mine.zip").write_bytes(content[: len(content) // 2])
    line = _fails(capsys, "movielens", "--input", folder / "ml-mine.zip", "--out", folder / "out")
    assert "ml-mine.zip is damaged or incomplete" in line
    assert not (folder / "out").exists()


def test_a_user_and_an_item_that_appear_once_and_repeated_pairs(folder):
    log = pl.concat(
        [
            _log(),
            _log()[:7],
            pl.DataFrame({"userId": [77, 1], "movieId": [1, 99], "rating": [5.0, 5.0], "timestamp": [1, 1]}),
        ]
    )
    log.write_csv(folder / "log.csv")
    _run(*_table(folder / "log.csv", "--heldout-users", 4, out=folder / "out"))
    manifest = load_prepared(folder / "out").manifest
    assert manifest.dropped["duplicates"] == 7
    assert manifest.dropped["users_with_few_items"] == 1
    assert manifest.counts.filtered_items == 13
    assert manifest.counts.users == 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--heldout-users", 20], "heldout_users must be less than half of the 40 users"),
        (["--heldout-users", 0], "heldout_users must be an integer of at least 1, got 0"),
        (["--heldout-users", "many"], "invalid int value: 'many'"),
        (["--test-fraction", 1], "test_fraction must be at least 0 and less than 1, got 1.0"),
        (["--min-items-per-user", 13], "no user is left after the filters"),
        (["--min-rating", 4], "has no rating column: leave out min_rating"),
        (["--protocol", "leave-last-out"], "has no timestamp column"),
        (["--protocol", "random", "--heldout-users", 4], "--heldout-users does not apply to --protocol random"),
        (["--validation-fraction", 0.1], "--validation-fraction does not apply to --protocol strong"),
        (["--protocol", "leave-last-out", "--seed", 4], "has no timestamp column"),
        (["--since", "1970-01-02"], "has no timestamp column: name one, or leave out since and until"),
        (["--until", "soon"], "until must be a date or a time such as 2026-11-25"),
        (["--since", 5, "--until", 5], "since must be before until"),
        (["--protocol", "k-fold"], "invalid choice: 'k-fold'"),
        (["--held-out", 4], "unrecognized arguments: --held-out"),
    ],
)
def test_a_bad_option_is_one_line_and_nothing_is_written(folder, capsys, options, message):
    assert message in _fails(capsys, "npz", "--input", folder / "log.npz", "--out", folder / "out", *options)
    assert not (folder / "out").exists()


def test_missing_and_unwritable_places(folder, capsys):
    assert "nothing.zip does not exist" in _fails(
        capsys, "movielens", "--input", folder / "nothing.zip", "--out", folder / "o"
    )
    assert "--input" in _fails(capsys, "movielens", "--out", folder / "o")
    assert "--out" in _fails(capsys, "npz", "--input", folder / "log.npz")
    assert "is missing" in _fails(capsys, "liang-csv", "--input", folder, "--out", folder / "o")
    assert "shape must be one of" in _fails(capsys, "generate", "--shape", "vast", "--out", folder / "o")
    assert "SOURCE" in _fails(capsys)
    below_a_file = folder / "log.npz" / "out"
    assert "cannot be written" in _fails(capsys, "npz", "--input", folder / "log.npz", "--out", below_a_file)


def test_existing_outputs_are_refused_before_any_work(folder, capsys):
    (folder / "out").mkdir()
    (folder / "out" / "keep.txt").write_text("mine")
    missing = ("npz", "--input", folder / "nothing.npz", "--out")
    assert "out exists already" in _fails(capsys, *missing, folder / "out")
    assert "has no train.indptr.npy, so it is not replaced" in _fails(capsys, *missing, folder / "out", "--overwrite")
    assert "out exists already" in _fails(capsys, *missing, folder / "new", "--export-liang-csv", folder / "out")


@pytest.mark.parametrize("exported", ["new", "new/csv", "."])
def test_two_outputs_in_one_place_are_refused_before_any_work(folder, capsys, exported):
    command = ("npz", "--input", folder / "nothing.npz", "--out", folder / "new", "--overwrite")
    message = _fails(capsys, *command, "--export-liang-csv", folder / exported)
    assert "--export-liang-csv must name a folder apart from --out" in message


def test_the_script_itself(tmp_path):
    def script(*arguments):
        command = [sys.executable, str(ROOT / "bin" / "prepare.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    arguments = ("generate", "--users", "100", "--items", "60", "--interactions", "1000", "--out", "data/small")
    done = script(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert load_prepared(tmp_path / "data" / "small").num_users == 100
    again = script(*arguments)
    assert again.returncode == 2
    assert again.stderr == "error: data/small exists already: choose another folder or pass --overwrite\n"


def test_preparing_never_loads_jax():
    code = "import sys, piavae_jax.data.prepare.command, piavae_jax.data.generator; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
