import json

import pytest
from tiny_runs import tiny_dataset

from piavae_jax.benchmark.folder import open_folder, read_info
from piavae_jax.data.prepared import write_prepared
from piavae_jax.errors import UserError
from piavae_jax.training.run_folder import data_digest


def test_sessions_are_written_down(tmp_path, dataset):
    open_folder(tmp_path / "new" / "bench", dataset, command="first")
    open_folder(tmp_path / "new" / "bench", dataset, command="second")
    info = read_info(tmp_path / "new" / "bench")
    assert info["data"]["digest"] == data_digest(dataset)
    assert (info["data"]["name"], info["data"]["items"], info["data"]["test_users"]) == ("tiny", 40, 12)
    assert [session["command"] for session in info["sessions"]] == ["first", "second"]
    for session in info["sessions"]:
        assert {"date", "versions", "python", "machine"} < session.keys()
        assert {"piavae-jax", "jax", "scipy"} < session["versions"].keys()


def test_other_data_are_refused(tmp_path, dataset):
    open_folder(tmp_path / "bench", dataset, command="first")
    before = (tmp_path / "bench" / "benchmark.json").read_text()
    other = write_prepared(tiny_dataset(seed=1, name="other"), tmp_path / "other")
    with pytest.raises(UserError, match=r"bench was begun on other data \(tiny, digest \w{12}\) than .*other"):
        open_folder(tmp_path / "bench", other, command="second")
    assert (tmp_path / "bench" / "benchmark.json").read_text() == before


def test_one_that_was_killed_as_it_began_begins_again(tmp_path, dataset):
    (tmp_path / ".benchmark.json").write_text('{"format')
    open_folder(tmp_path, dataset, command="second")
    assert [session["command"] for session in read_info(tmp_path)["sessions"]] == ["second"]


def test_a_folder_of_something_else_is_left_alone(tmp_path, dataset):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="exists and holds no benchmark: choose another --out"):
        open_folder(tmp_path, dataset, command="first")
    with pytest.raises(UserError, match=r"holds no benchmark: it has no benchmark\.json"):
        read_info(tmp_path)
    with pytest.raises(UserError, match="exists and holds no benchmark"):
        open_folder(tmp_path / "thesis.tex", dataset, command="first")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("change", "message"), [({"format_version": 9}, "must have format version 1, got 9"), (None, "is damaged")]
)
def test_what_cannot_be_read_is_named(tmp_path, dataset, change, message):
    open_folder(tmp_path / "bench", dataset, command="first")
    path = tmp_path / "bench" / "benchmark.json"
    path.write_text("{" if change is None else json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        open_folder(tmp_path / "bench", dataset, command="second")
