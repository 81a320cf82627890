import json

import numpy as np
import pytest
from fakes import fake_outcome, fake_system

from piavae_jax.benchmark.records import is_done, read_records, run_path, write_failure, write_outcome
from piavae_jax.data.json_files import read_json, write_json
from piavae_jax.errors import UserError
from piavae_jax.evaluation import read_user_metrics


def test_an_outcome_comes_back_as_it_was(tmp_path):
    folder, outcome = run_path(tmp_path, "a", 2), fake_outcome(0.4, seed=2)
    write_outcome(folder, fake_system("a", label="Zoë | A"), 2, outcome, seconds=7.5)
    (record,) = read_records(tmp_path)
    assert record[:5] == ("a", "Zoë | A", "vae", 2, 7.5)
    assert record.outcome[2:] == outcome[2:]
    for ours, theirs in zip(record.outcome[:2], outcome[:2], strict=True):
        assert ours.users.equals(theirs.users)
        np.testing.assert_array_equal(ours["ndcg@100"], theirs["ndcg@100"])


def test_the_summary_is_there_for_other_programs(tmp_path):
    outcome = fake_outcome(0.4)
    write_outcome(tmp_path / "a" / "seed-0", fake_system("a"), 0, outcome, seconds=1.0)
    written = json.loads((tmp_path / "a" / "seed-0" / "outcome.json").read_text())
    assert written["test"]["ndcg@100"]["mean"] == pytest.approx(np.nanmean(outcome.test["ndcg@100"]))
    assert (written["test"]["users"], written["test"]["users_without_targets"]) == (36, 4)
    assert read_user_metrics(tmp_path / "a" / "seed-0" / "test_users.parquet").users.len() == 40


def test_the_outcome_marks_a_run_as_done_and_is_written_last(tmp_path, monkeypatch):
    folder = tmp_path / "a" / "seed-0"
    with monkeypatch.context() as patch:
        patch.setattr("piavae_jax.benchmark.records.write_json", stop)
        with pytest.raises(KeyboardInterrupt):
            write_outcome(folder, fake_system("a"), 0, fake_outcome(0.4), seconds=1.0)
    assert (folder / "test_users.parquet").is_file()
    assert not is_done(folder)
    assert read_records(tmp_path) == []
    write_outcome(folder, fake_system("a"), 0, fake_outcome(0.4), seconds=1.0)
    assert is_done(folder)


def stop(*_):
    raise KeyboardInterrupt


def test_a_failure_is_kept_until_the_run_succeeds(tmp_path):
    folder = run_path(tmp_path, "a", 0)
    folder.mkdir(parents=True)
    write_failure(folder, fake_system("a"), 0, "NonFiniteLoss: it is nan", seconds=1.0)
    (record,) = read_records(tmp_path)
    assert (record.outcome, record.error) == (None, "NonFiniteLoss: it is nan")
    assert not is_done(folder)
    write_outcome(folder, fake_system("a"), 0, fake_outcome(0.4), seconds=1.0)
    assert [record.error for record in read_records(tmp_path)] == [""]
    assert not (folder / "failure.json").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"system": "a"}'])
def test_damage_is_named(tmp_path, text):
    folder = run_path(tmp_path, "a", 0)
    folder.mkdir(parents=True)
    (folder / "outcome.json").write_text(text)
    with pytest.raises(UserError, match=r"seed-0/outcome.json is damaged"):
        read_records(tmp_path)


def test_json_has_no_nan_and_a_failed_write_keeps_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"x": float("nan"), "y": [float("inf"), 0.5, (1, "é")]})
    assert read_json(tmp_path / "a.json") == {"x": None, "y": [None, 0.5, [1, "é"]]}
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    assert read_json(tmp_path / "a.json")["x"] is None
