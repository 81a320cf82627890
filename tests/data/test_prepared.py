import dataclasses
import json

import numpy as np
import polars as pl
import pytest

from piavae_jax.data import manifest, prepared
from piavae_jax.data.cleaning import clean
from piavae_jax.data.interactions import Interactions
from piavae_jax.data.prepared import load_prepared, vocabulary_digest, write_prepared
from piavae_jax.data.protocol import StrongGeneralization
from piavae_jax.errors import UserError


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    items = np.concatenate([rng.permutation(30)[:15] for _ in range(40)])
    events = pl.LazyFrame({"user": np.repeat(np.arange(40), 15), "item": items})
    titles = pl.DataFrame({"item": [0, 1, 2], "title": ["zero", "ünö", None]})
    return StrongGeneralization(5).split(clean(Interactions(events, titles, "random")), name="random")


def _arrays(dataset):
    return dict(prepared._arrays(dataset))


@pytest.mark.parametrize("mmap", [True, False])
def test_what_is_written_is_what_is_loaded(dataset, tmp_path, mmap):
    written = write_prepared(dataset, tmp_path / "set")
    loaded = load_prepared(tmp_path / "set", mmap=mmap)
    for name, array in _arrays(dataset).items():
        np.testing.assert_array_equal(_arrays(loaded)[name], array)
        assert _arrays(loaded)[name].dtype == array.dtype
        assert isinstance(_arrays(loaded)[name], np.memmap) == mmap
    assert loaded.items.equals(dataset.items)
    assert loaded.users.equals(dataset.users)
    assert loaded.manifest == written.manifest
    assert loaded.path == written.path == tmp_path / "set"
    assert (loaded.name, loaded.num_items, loaded.num_users) == ("random", 30, 40)


def test_dtypes_and_titles_are_those_promised(dataset):
    assert dataset.train.indptr.dtype == np.int64
    assert dataset.train.indices.dtype == dataset.train_users.dtype == dataset.test.users.dtype == np.int32
    assert dataset.items.schema == {"item_id": pl.Int64, "title": pl.String}
    titles = dict(dataset.items.iter_rows())
    assert (titles[0], titles[1], titles[2], titles[3]) == ("zero", "ünö", None, None)


def test_the_same_data_gives_the_same_files(dataset, tmp_path):
    first, second = (write_prepared(dataset, tmp_path / name).manifest.files for name in "ab")
    assert first == second
    assert len(first) == 15


def test_no_file_is_a_pickle(dataset, tmp_path):
    objects = dataclasses.replace(dataset, train_users=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        write_prepared(objects, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_replaced_unasked(dataset, tmp_path):
    write_prepared(dataset, tmp_path / "set")
    with pytest.raises(UserError, match=r"set exists already.*--overwrite"):
        write_prepared(dataset, tmp_path / "set")
    write_prepared(dataclasses.replace(dataset, path=None), tmp_path / "set", overwrite=True)
    assert load_prepared(tmp_path / "set").num_items == dataset.num_items
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_overwrite_never_deletes_a_folder_of_something_else(dataset, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"has no train.indptr.npy, so it is not replaced"):
        write_prepared(dataset, tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_failure_midway_leaves_the_old_data_set_whole(dataset, tmp_path, monkeypatch):
    write_prepared(dataset, tmp_path / "set")
    saved = []

    def save(path, array, **options):
        if len(saved) == 5:
            raise OSError(28, "No space left on device")
        saved.append(path)

    monkeypatch.setattr(np, "save", save)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\): free space"):
        write_prepared(dataset, tmp_path / "set", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    load_prepared(tmp_path / "set")


def test_every_file_is_checked(dataset, tmp_path):
    files = write_prepared(dataset, tmp_path / "set").manifest.files
    for name in files:
        path = tmp_path / "set" / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(UserError, match=f"{name} is damaged"):
            load_prepared(tmp_path / "set")
        path.unlink()
        with pytest.raises(UserError, match=f"{name} is missing"):
            load_prepared(tmp_path / "set", verify=False)
        path.write_bytes(content)
    load_prepared(tmp_path / "set")


@pytest.mark.parametrize("name", ["train.indices.npy", "items.parquet"])
def test_an_unverified_file_that_cannot_be_read_is_reported(dataset, tmp_path, name):
    write_prepared(dataset, tmp_path / "set")
    (tmp_path / "set" / name).write_bytes(b"not what it was")
    with pytest.raises(UserError, match=r"set cannot be read .*: prepare the data again"):
        load_prepared(tmp_path / "set", verify=False)


def test_says_what_is_not_a_data_set(tmp_path):
    with pytest.raises(UserError, match="nothing is not a folder"):
        load_prepared(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"has no manifest.json"):
        load_prepared(tmp_path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text[: len(text) // 2], "is not valid JSON"),
        (lambda text: "[1]", "must hold a JSON object, not list"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 2'), "format version 2, .* reads 1"),
        (lambda text: "{}", "format version None"),
        (lambda text: text.replace('"counts"', '"count"'), "not a complete manifest"),
        (lambda text: text.replace('"users_without_target"', '"others"'), "not a complete manifest"),
    ],
)
def test_a_bad_manifest_is_refused(dataset, tmp_path, edit, message):
    write_prepared(dataset, tmp_path / "set")
    path = tmp_path / "set" / "manifest.json"
    path.write_text(edit(path.read_text()))
    with pytest.raises(UserError, match=message):
        load_prepared(tmp_path / "set")


def test_the_manifest_names_no_folder_of_this_machine(dataset, tmp_path):
    write_prepared(dataset, tmp_path / "set")
    assert str(tmp_path) not in (tmp_path / "set" / "manifest.json").read_text()


def test_manifest_survives_json(dataset):
    assert manifest.from_json(dataset.manifest.to_json(), where="here") == dataset.manifest
    without_raw = dataclasses.replace(dataset.manifest, raw=None)
    assert manifest.from_json(without_raw.to_json(), where="here") == without_raw
    assert json.loads(dataset.manifest.to_json())["counts"]["users"] == 40


def test_vocabulary_digest_depends_on_ids_order_and_type(dataset):
    digests = [
        vocabulary_digest(pl.Series(ids)) for ids in ([1, 2, 3], [2, 1, 3], ["1", "2", "3"], ["1,2", "3"], [1, 2])
    ]
    assert len(set(digests)) == len(digests)
    assert vocabulary_digest(pl.Series([1, 2, 3], dtype=pl.Int32)) == digests[0]
    assert (
        dataset.vocabulary_digest == dataset.manifest.vocabulary_digest == vocabulary_digest(dataset.items["item_id"])
    )


def test_a_folder_is_taken_by_its_name_not_as_a_pattern(dataset, tmp_path):
    other = dataclasses.replace(dataset, items=dataset.items.with_columns(item_id=dataset.items["item_id"] + 100))
    write_prepared(other, tmp_path / "set1")
    write_prepared(dataset, tmp_path / "set[1]")
    assert load_prepared(tmp_path / "set[1]").items.equals(dataset.items)
