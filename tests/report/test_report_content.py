"""What the page says: numbers as the evaluator has them, nothing executed, nothing left out without a sentence."""

import html
import json
import re
import shutil
import tomllib
from datetime import UTC, datetime
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from report_runs import write_page
from tiny_runs import EVIL

import piavae_jax.report
from piavae_jax.data.prepared import load_prepared
from piavae_jax.evaluation import summarize_groups
from piavae_jax.report.findings import find
from piavae_jax.report.page import render
from piavae_jax.training.restore import restore
from piavae_jax.training.results import evaluate_run

_VOID = {"meta", "link", "line", "circle", "path", "br"}


class _Outline(HTMLParser):
    """Tags in their order; fails where they do not nest."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.ids, self.references = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href"):
                self.references.append(value)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self.open.pop() == tag


def outline(page):
    parser = _Outline()
    parser.feed(page)
    assert parser.open == []
    return parser


def text_of(page):
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body))).replace("\u00a0", " ")


def test_the_page_is_well_formed_and_names_nothing_outside(pia_page):
    page = outline(pia_page.read_text())
    assert page.tags.count("h1") == 1
    assert len(set(page.ids)) == len(page.ids)
    assert all(reference.startswith(("#", "data:")) for reference in page.references)
    assert {reference[1:] for reference in page.references if reference.startswith("#")} <= set(page.ids)
    assert "http:" not in pia_page.read_text()
    assert "https:" not in pia_page.read_text()


def test_titles_are_text_wherever_they_stand(pia_page):
    page = pia_page.read_text()
    assert "<script>window" not in page
    assert "</title> " not in page
    assert html.escape(EVIL, quote=False).replace('"', "&#34;").replace("'", "&#39;") in page
    assert EVIL in text_of(page)


def test_an_item_without_title_is_shown_by_its_id(pia_page):
    assert re.search(r"\bi1\b", text_of(pia_page.read_text()))


def test_numbers_are_those_of_the_evaluator(pia_page, pia_run, dataset):
    trained = restore(pia_run)
    users, popularity = evaluate_run(trained.run, trained.score, trained.params, load_prepared(dataset.path))
    text = text_of(pia_page.read_text())

    def written(value):
        return f"{value:.4f}".replace("0.", ".", 1)

    for metric in ("ndcg@100", "recall@20", "recall@50"):
        assert written(users.summary(metric).mean) in text
        assert written(popularity.summary(metric).mean) in text
    difference = np.nanmean(users["ndcg@100"] - popularity["ndcg@100"])
    assert f"{difference:+.4f}".replace("0.", ".", 1).replace("-", "−") in text
    for group in summarize_groups(users):
        if group.metrics["ndcg@100"].users:
            assert written(group.metrics["ndcg@100"].mean) in text


def test_the_map_has_every_test_user_and_their_items(pia_page, dataset):
    page = pia_page.read_text()
    data = json.loads(re.search(r'id="map-data">(.*?)</script>', page, re.DOTALL).group(1))
    rows = dataset.test.input
    assert page.count("<circle class=") >= len(data["users"]) == rows.num_rows
    titles = [title or item for title, item in dataset.items.select("title", "item_id").iter_rows()]
    for row, (user, shown, held_out, _, items) in enumerate(data["users"]):
        assert user == str(dataset.users["user_id"][int(dataset.test.users[row])])
        assert (shown, held_out) == (len(rows.row(row)), len(dataset.test.target.row(row)))
        named = {data["titles"][item] for item in items}
        assert len(named) == min(shown, 6)
        assert named <= {titles[item] for item in rows.row(row)}


def test_the_same_run_gives_the_same_page(pia_run, dataset):
    when = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    first, second = (
        render(find(restore(pia_run), load_prepared(dataset.path), tell=lambda _: None), created=when) for _ in range(2)
    )
    assert first == second
    assert "02 January 2026, 03:04 UTC" in first


def test_a_model_without_posterior_says_so(code_run, tmp_path):
    page, _ = write_page(code_run, tmp_path / "page.html")
    text = text_of(page)
    outline(page)
    assert "Codes (this model has no posterior)" in text
    assert "The model has a code, not a posterior" in text
    assert "vectors in the decoder's last layer" in text
    assert "weight of the KL term," not in text
    assert "λ A" not in text


def test_a_fused_model_shows_its_member(fused_run, tmp_path):
    page, _ = write_page(fused_run, tmp_path / "page.html")
    text = text_of(page)
    outline(page)
    assert "Multi-VAE + PIA + EASE on tiny" in text
    assert "The first member of the fusion. 5 epochs" in text
    assert "of the fusion's first member" in text


def test_epochs_beyond_the_checkpoint_are_not_told_of(pia_run, tmp_path):
    shutil.copytree(pia_run, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    later = json.dumps(last | {"epoch": last["epoch"] + 1, "best_epoch": last["epoch"] + 1})
    (tmp_path / "run" / "metrics.jsonl").write_text("\n".join([*lines, later]) + "\n")
    text = text_of(write_page(tmp_path / "run", tmp_path / "page.html")[0])
    assert f"{last['epoch']} epochs; the best on validation is {last['best_epoch']} " in text


def test_without_records_there_are_no_curves_and_a_sentence(pia_run, tmp_path):
    shutil.copytree(pia_run, tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    text = text_of(write_page(tmp_path / "run", tmp_path / "page.html")[0])
    assert "there are no learning curves" in text
    assert "The run folder has no record of its epochs" in text


def test_without_any_title_the_page_says_so(code_run, dataset, tmp_path):
    shutil.copytree(code_run, tmp_path / "run")
    file = tmp_path / "run" / "vocabulary.parquet"
    pl.read_parquet(file).with_columns(title=pl.lit(None, pl.String)).write_parquet(file)
    text = text_of(write_page(tmp_path / "run", tmp_path / "page.html")[0])
    assert "The data set has no titles" in text
    assert "Title 5" not in text


@pytest.mark.parametrize("name", ["report.html.jinja", "charts.jinja", "report.css", "report.js"])
def test_templates_are_part_of_the_package(name):
    folder = Path(piavae_jax.report.__file__).parent
    project = tomllib.loads((folder.parents[1] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["piavae_jax.report"]
    assert (folder / "templates" / name).is_file()
    assert any(fnmatch(f"templates/{name}", pattern) for pattern in patterns)
