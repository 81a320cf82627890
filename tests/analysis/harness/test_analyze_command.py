"""The command, whole, and as a user calls it."""

import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from piavae_jax.analysis.harness import command
from piavae_jax.analysis.harness.gathering import Sources
from piavae_jax.analysis.harness.needs import BENCHMARK, RUNS
from piavae_jax.analysis.harness.study import Findings, Study, Table
from piavae_jax.analysis.studies.registry import STUDIES
from piavae_jax.errors import UserError

SCRIPT = Path(__file__).parents[3] / "bin" / "analyze.py"
FOUND = Findings(("Found.",), {"t": Table("T", pl.DataFrame({"x": [1.0]}))})


def fail(material):
    raise UserError("the sky fell; wait")


GOOD, BAD = Study("good", "Good", (RUNS,), lambda _: FOUND), Study("bad", "Bad", (RUNS,), fail)
NEEDY = Study("needy", "Needy", (RUNS, BENCHMARK), lambda _: FOUND)


@pytest.fixture
def run(run_path, tmp_path, monkeypatch):
    """Runs studies of the test's own, and returns what was printed."""

    def run_command(*studies, only=None, sources=None, out="out"):
        console = Console(file=io.StringIO(), width=120)
        monkeypatch.setattr(command, "choose_studies", lambda _: list(studies))
        try:
            sources = Sources((run_path,)) if sources is None else sources
            command.run_studies(sources, only=only, out=tmp_path / out, seed=0, console=console, command="x")
        finally:
            run_command.printed = console.file.getvalue()
        return run_command.printed

    return run_command


def test_studies_end_in_a_table_and_all_files(run, tmp_path, run_path):
    printed = run(GOOD)
    assert "1/1  good  Good" in printed
    assert "Found." in printed
    assert "good.md, t.csv" in printed
    info = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert info["data"]["name"] == "tiny"
    assert [session["command"] for session in info["sessions"]] == ["x"]
    assert "## [Good](good/good.md)" in (tmp_path / "out" / "analysis.md").read_text()
    assert json.loads((tmp_path / "out" / "good" / "study.json").read_text())["runs"] == {
        "masking + PIA": str(run_path)
    }


def test_what_lacks_something_is_passed_over_unless_it_is_named(run, tmp_path):
    assert "not run: it needs a benchmark: pass a folder that bin/benchmark.py wrote" in run(GOOD, NEEDY)
    with pytest.raises(UserError, match="needy cannot be run: it needs a benchmark"):
        run(NEEDY, only="needy", out="other")
    with pytest.raises(UserError, match="no study can be run: needy: not run: it needs a benchmark"):
        run(NEEDY, out="other")
    assert not (tmp_path / "other").exists()


def test_one_that_fails_does_not_stop_the_others(run, tmp_path):
    with pytest.raises(UserError, match="bad failed, for the reasons above; mend them and pass --only bad"):
        run(BAD, GOOD)
    assert "failed: the sky fell; wait" in run.printed
    assert (tmp_path / "out" / "good" / "good.md").is_file()
    assert not (tmp_path / "out" / "bad").exists()


def test_what_is_done_is_listed_when_the_next_one_is_interrupted(run, tmp_path):
    def interrupt(material):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(GOOD, BAD._replace(run=interrupt))
    assert "[Good](good/good.md)" in (tmp_path / "out" / "analysis.md").read_text()


def test_a_second_call_adds_to_the_first(run, tmp_path):
    run(GOOD)
    run(GOOD._replace(name="later"))
    assert "[Good](later/later.md)" in (tmp_path / "out" / "analysis.md").read_text()
    assert "[Good](good/good.md)" in (tmp_path / "out" / "analysis.md").read_text()
    assert len(json.loads((tmp_path / "out" / "analysis.json").read_text())["sessions"]) == 2


def other_run(run_path, tmp_path, **changes):
    """A run folder that says it was trained on other data, or has another config."""
    folder = tmp_path / "other-run"
    folder.mkdir()
    for name in ("vocabulary.parquet", "metrics.jsonl"):
        (folder / name).write_bytes((run_path / name).read_bytes())
    info = json.loads((run_path / "run.json").read_text())
    config = json.loads((run_path / "config.json").read_text())
    info["data"]["digest"] = changes.get("digest", info["data"]["digest"])
    config["model"]["name"] = changes.get("model", "multvae")
    config["pia"]["enabled"] = changes.get("pia", True)
    (folder / "run.json").write_text(json.dumps(info))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_mistakes_are_told_before_anything_is_written(run, tmp_path, run_path):
    digest = other_run(run_path, tmp_path, digest="f" * 64)
    for sources, message in [
        (
            Sources(workdirs=()),
            "there is nothing to analyse: pass runs with --workdir, or --benchmark, or --sensitivity",
        ),
        (Sources((tmp_path / "gone",)), r"gone is not a run folder: it has no run\.json"),
        (Sources((run_path, run_path)), "run folders must differ"),
        (
            Sources((run_path, digest)),
            r"must be trained on the same data, got .*other-run on tiny \(digest ffffffffffff\)",
        ),
        (Sources((run_path,), data=tmp_path / "gone"), "gone is not a folder"),
        (Sources((digest,)), "holds other data than .*other-run was trained on"),
        (Sources((run_path,), benchmark=tmp_path), "holds no benchmark"),
        (Sources((run_path,), sensitivity=tmp_path / "gone"), "holds no search"),
        (Sources((digest,), data=None, sensitivity=run_path.parent), "holds no search"),
    ]:
        with pytest.raises(UserError, match=message):
            run(GOOD, sources=sources)
    assert not (tmp_path / "out").exists()


def test_a_search_on_other_data_is_refused(run, run_path, tmp_path):
    other_run(run_path, tmp_path, digest="f" * 64).rename(tmp_path / "trial-000")
    with pytest.raises(UserError, match="is a search on other data"):
        run(GOOD, sources=Sources((run_path,), sensitivity=tmp_path))


def test_folders_of_others_and_of_other_data_are_refused(run, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(UserError, match="exists and holds no analysis: choose another --out, or empty it"):
        run(GOOD, out="full")
    run(GOOD)
    path = tmp_path / "out" / "analysis.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"data": {"name": "other", "digest": "f" * 64}}))
    with pytest.raises(UserError, match=r"was begun on other data \(other, digest ffffffffffff\) than tiny"):
        run(GOOD)
    path.write_text(json.dumps(info | {"format_version": 99}))
    with pytest.raises(UserError, match="must have format version 1, got 99"):
        run(GOOD)


def test_a_model_without_posterior_is_refused_where_one_is_needed(run, run_path, tmp_path):
    path = other_run(run_path, tmp_path, model="multidae", pia=False)
    with pytest.raises(UserError, match=r"figure2 cannot be run: .* is a multidae, which has no single Gaussian"):
        run(STUDIES["figure2"], only="figure2", sources=Sources((path,)))


def test_without_scikit_learn_figure_2_is_passed_over(run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    printed = run(GOOD, STUDIES["figure2"])
    assert "pip install 'piavae-jax[analysis]'" in printed


def call(tmp_path, *arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        cwd=tmp_path,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_lists_and_refuses(tmp_path, run_path):
    listed = call(tmp_path, "--list")
    assert listed.returncode == 0, listed.stderr
    assert all(name in listed.stdout for name in STUDIES)
    wrong = call(tmp_path, "--workdir", run_path, "--out", "out", "--only", "figure9")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith('error: --only names "figure9", which is no study: choose from ')
    wrong = call(tmp_path, "--workdir", run_path, "--out", "out", "--seed", "-1")
    assert wrong.stderr.startswith("error: --seed must be at least 0 and below 2**32, got -1")
    assert list(tmp_path.iterdir()) == []


def test_help_shows_a_command_to_copy_and_loads_nothing_that_is_slow(tmp_path):
    command_line = [sys.executable, "-X", "importtime", SCRIPT, "--help"]
    result = subprocess.run(command_line, capture_output=True, text=True, check=True)
    assert "python bin/analyze.py --workdir runs/clean runs/masked runs/pia --out runs/analysis" in result.stdout
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert imported.isdisjoint({"jax", "flax", "optax", "orbax", "polars", "numpy", "scipy", "matplotlib", "sklearn"})
