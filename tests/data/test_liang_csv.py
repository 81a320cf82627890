import dataclasses

import literal_protocol
import numpy as np
import polars as pl
import pytest

from piavae_jax.data.cleaning import clean
from piavae_jax.data.liang_csv import read_liang_csv, write_liang_csv
from piavae_jax.data.prepared import _arrays, load_prepared, write_prepared
from piavae_jax.data.protocol import StrongGeneralization
from piavae_jax.data.splits import RandomSplit
from piavae_jax.errors import UserError


def _dataset(protocol, *, text=False):
    rng = np.random.default_rng(0)
    rows = [(user * 10, int(item) + 500, 5.0) for user in range(40) for item in rng.permutation(60)[:12]]
    if text:
        rows = [(f"u{user}", f"é {item}", rating) for user, item, rating in rows]
    return protocol.split(clean(literal_protocol.interactions(rows)), name="set")


@pytest.mark.parametrize("protocol", [StrongGeneralization(6), RandomSplit()])
@pytest.mark.parametrize("text", [False, True])
def test_what_is_written_is_what_is_read(tmp_path, protocol, text):
    dataset = _dataset(protocol, text=text)
    write_liang_csv(dataset, tmp_path / "csv")
    read = read_liang_csv(tmp_path / "csv", name="set")
    for (name, expected), (_, array) in zip(_arrays(dataset), _arrays(read), strict=True):
        np.testing.assert_array_equal(array, expected, err_msg=name)
        assert array.dtype == expected.dtype
    assert read.items["item_id"].equals(dataset.items["item_id"])
    assert read.users.equals(dataset.users)
    assert read.vocabulary_digest == dataset.vocabulary_digest


def test_the_files_are_those_of_the_published_code(tmp_path):
    dataset = _dataset(StrongGeneralization(6))
    write_liang_csv(dataset, tmp_path / "csv")
    names = {path.name for path in (tmp_path / "csv").iterdir()}
    parts = {f"{part}.csv" for part in ("train", "validation_tr", "validation_te", "test_tr", "test_te")}
    assert names == parts | {"unique_sid.txt", "unique_uid.txt"}
    lines = (tmp_path / "csv" / "test_te.csv").read_text().splitlines()
    first = dataset.test.users[0]
    assert lines[:3] == ["uid,sid", *(f"{first},{item}" for item in dataset.test.target.row(0)[:2])]
    assert (tmp_path / "csv" / "unique_sid.txt").read_text().splitlines()[3] == str(dataset.items["item_id"][3])


def test_a_peers_folder_without_user_ids_takes_the_indices(tmp_path):
    dataset = _dataset(StrongGeneralization(6))
    write_liang_csv(dataset, tmp_path / "csv")
    (tmp_path / "csv" / "unique_uid.txt").unlink()
    read = read_liang_csv(tmp_path / "csv", name="set")
    assert read.users["user_id"].to_list() == list(range(40))
    write_prepared(read, tmp_path / "set")
    assert load_prepared(tmp_path / "set").manifest.protocol == "given"


def test_an_existing_folder_is_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="exists"):
            write_liang_csv(_dataset(StrongGeneralization(6)), tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_id_with_a_line_break_cannot_be_written(tmp_path):
    dataset = _dataset(StrongGeneralization(6), text=True)
    broken = dataset.items.with_columns(item_id=pl.col("item_id") + "\nx")
    object.__setattr__(dataset, "items", broken)
    with pytest.raises(UserError, match=r"unique_sid.txt has one id a line"):
        write_liang_csv(dataset, tmp_path / "csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        ("train.csv", None, r"train.csv is missing"),
        ("unique_sid.txt", None, r"unique_sid.txt is missing"),
        ("test_tr.csv", lambda text: text.replace("uid,sid", "user,item"), "must have the integer columns uid and sid"),
        ("test_tr.csv", lambda text: text + "a,1\n", "must have the integer columns uid and sid"),
        ("test_tr.csv", lambda text: text + "7,\n", "missing or negative sid"),
        ("test_tr.csv", lambda text: text + "-7,1\n", "missing or negative uid"),
        ("test_tr.csv", lambda text: text + "39,60\n", r"has sid 60, but unique_sid.txt has 60 lines"),
        ("test_te.csv", lambda text: text + text.splitlines()[1] + "\n", "test_tr and test_te must not repeat a pair"),
        ("train.csv", lambda text: text + text.splitlines()[1] + "\n", "train must not repeat a pair"),
        ("train.csv", lambda text: text + "40,1\n", r"unique_uid.txt has 40 lines, but the largest uid is 40"),
        ("unique_sid.txt", lambda text: text + text.splitlines()[0] + "\n", "one distinct id a line, got 61 lines, 60"),
    ],
)
def test_refuses_files_that_do_not_fit(tmp_path, file, edit, message):
    write_liang_csv(_dataset(StrongGeneralization(6)), tmp_path / "csv")
    path = tmp_path / "csv" / file
    text = path.read_text()
    path.unlink()
    if edit is not None:
        path.write_text(edit(text))
    with pytest.raises(UserError, match=message):
        read_liang_csv(tmp_path / "csv", name="set")


def test_an_id_may_have_any_character_but_a_line_break(tmp_path):
    ids = [f"a{character}{number}" for number, character in enumerate("\u2028\u2029\x85\x0b\x0c\x1c ")]
    dataset = _dataset(StrongGeneralization(6), text=True)
    names = [*ids, *dataset.items["item_id"][len(ids) :]]
    dataset = dataclasses.replace(dataset, items=dataset.items.with_columns(item_id=pl.Series(names)))
    write_liang_csv(dataset, tmp_path / "csv")
    assert read_liang_csv(tmp_path / "csv", name="set").items["item_id"].to_list() == names


def test_the_mark_that_some_editors_put_first_is_no_part_of_an_id(tmp_path):
    dataset = _dataset(StrongGeneralization(6))
    write_liang_csv(dataset, tmp_path / "csv")
    path = tmp_path / "csv" / "unique_sid.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_liang_csv(tmp_path / "csv", name="set").items["item_id"].equals(dataset.items["item_id"])


def test_without_training_rows_there_is_nothing_to_learn_from(tmp_path):
    write_liang_csv(_dataset(StrongGeneralization(6)), tmp_path / "csv")
    (tmp_path / "csv" / "train.csv").write_text("uid,sid\n")
    with pytest.raises(UserError, match=r"train.csv has no rows: a model needs users to train on"):
        read_liang_csv(tmp_path / "csv", name="set")
