"""What the command refuses, and what it leaves behind."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from report_runs import write_page
from tiny_runs import tiny_dataset

from piavae_jax.data.prepared import load_prepared, write_prepared
from piavae_jax.errors import UserError
from piavae_jax.evaluation import Evaluator
from piavae_jax.report.systems import EASE, compare_with_baselines, evaluate, interval_of, scorers_of
from piavae_jax.training.restore import restore

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("out", ["page.txt", "page", "folder.html"])
def test_the_page_must_be_an_html_file(pia_run, tmp_path, out):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UserError, match="--out must name an HTML file"):
        write_page(pia_run, tmp_path / out)


def test_missing_data_ask_for_the_flag(pia_run, tmp_path, monkeypatch):
    trained = restore(pia_run)
    trained.run.config.data.path = "nowhere"
    monkeypatch.setattr("piavae_jax.report.command.restore", lambda _: trained)
    with pytest.raises(UserError, match="name a prepared data set with --data"):
        write_page(pia_run, tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_other_data_are_refused_and_an_old_page_is_kept(pia_run, tmp_path):
    other = tiny_dataset(seed=1)
    other = dataclasses.replace(other, items=other.items.with_columns(item_id=pl.Series([f"j{n}" for n in range(40)])))
    write_prepared(other, tmp_path / "other")
    (tmp_path / "page.html").write_text("old")
    with pytest.raises(UserError, match="another item vocabulary"):
        write_page(pia_run, tmp_path / "page.html", data=tmp_path / "other")
    assert (tmp_path / "page.html").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "page.html"]


def test_the_console_repeats_the_warnings(written):
    path, printed = written
    assert printed.count("warning  ") == path.read_text().count('<li class="fired">') > 0
    assert "checks of Multi-VAE + PIA on tiny" in printed
    assert str(path) in printed
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]


def test_a_mistake_ends_with_status_2_and_one_line(tmp_path):
    command = [sys.executable, "bin/report.py", "--workdir", str(tmp_path), "--out", str(tmp_path / "page.html")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "is not a run folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_baselines_share_users_and_ease_is_for_small_catalogues(pia_run, dataset, monkeypatch):
    trained, data = restore(pia_run), load_prepared(dataset.path)
    scorers = scorers_of(trained, "run", data)
    assert [scorer.name for scorer in scorers] == ["run", "Popularity", EASE]
    systems = evaluate(scorers, Evaluator(data.test, num_items=data.num_items))
    rows = compare_with_baselines(systems)
    assert [(row.system, row.baseline) for row in rows] == [("run", "Popularity")] * 3 + [("run", EASE)] * 3
    assert all(row.p_holm >= row.p_value for row in rows)
    for row in rows:
        other = next(system for system in systems if system.scorer.name == row.baseline)
        difference = np.nanmean(systems[0].users[row.metric] - other.users[row.metric])
        assert row.difference == pytest.approx(difference, abs=1e-12)
    monkeypatch.setattr("piavae_jax.report.systems.EASE_MAX_ITEMS", data.num_items - 1)
    assert [scorer.name for scorer in scorers_of(trained, "run", data)] == ["run", "Popularity"]


def test_an_interval_needs_two_users():
    assert np.isnan(interval_of(np.array([np.nan]))).tolist() == [True, True, True, False]
    alone = interval_of(np.array([0.5, np.nan]))
    assert alone.mean == 0.5
    assert np.isnan(alone.low)
    values = np.random.default_rng(0).uniform(size=400)
    interval = interval_of(np.append(values, np.nan))
    assert interval.users == 400
    assert interval.mean == pytest.approx(values.mean())
    half = 1.96 * values.std(ddof=1) / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)
