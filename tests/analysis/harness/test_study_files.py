"""Formats, pages and folders of studies that find what the test says."""

import json
import sys

import polars as pl
import pytest
from matplotlib import image
from rich.console import Console

from piavae_jax import pictures
from piavae_jax.analysis.harness.formats import MOST_ROWS_PRINTED, column_title, columns_of, to_markdown, to_rich
from piavae_jax.analysis.harness.study import Findings, Picture, Study, Table
from piavae_jax.analysis.harness.writing import check_study_folder, write_findings, write_index
from piavae_jax.errors import UserError

FRAME = pl.DataFrame(
    {
        "run": ["a | b", "c"],
        "users": [1200, 7],
        "ndcg@100": [0.41, None],
        "ndcg@100_standard_error": [0.01, None],
        "difference": [0.5, -0.25],
        "low": [0.25, -0.5],
        "high": [0.75, 0.0],
    }
)
TABLE = Table("Numbers", FRAME, {"difference": "+.1%", **dict.fromkeys(("low", "high"), "+.1%")})


def draw():
    figure = pictures.new_figure(3, 2, title="title")
    figure.subplots().plot([0, 1], [0, 1])
    return figure


FINDINGS = Findings(("One is two.",), {"numbers": TABLE}, {"numbers": Picture("What it shows.", draw)})
STUDY = Study("study", "A study", (), lambda _: FINDINGS)


def write(root, study=STUDY):
    return write_findings(root, study, study.run(None), runs={"masking": "runs/a"}, seconds=1.5)


def test_cells_are_as_people_read_them():
    assert columns_of(TABLE) == {
        "run": ["a | b", "c"],
        "users": ["1,200", "7"],
        "nDCG@100": [".4100 ± .0100", ""],
        "difference": ["+50.0%", "-25.0%"],
        "95 % interval": ["+25.0% to +75.0%", "-50.0% to +0.0%"],
    }


def test_headings():
    assert column_title("best_epoch") == "best epoch"
    assert column_title("validation/ndcg@100") == "validation nDCG@100"
    assert column_title("p_holm") == "p (Holm)"


def test_markdown_has_text_flush_left_and_escapes_bars():
    header, rule, first, _ = to_markdown(TABLE).splitlines()
    assert header == "| run | users | nDCG@100 | difference | 95 % interval |"
    assert rule == "| --- | ---: | ---: | ---: | ---: |"
    assert first.startswith(r"| a \| b | 1,200 |")


def test_long_tables_are_told_of_and_not_printed():
    long = Table("Long", pl.DataFrame({"x": range(MOST_ROWS_PRINTED + 1)}))
    assert to_markdown(long) == "61 rows, x"
    assert to_rich(long, Console(width=160)) is None
    assert to_rich(TABLE, Console(width=160)) is not None
    assert to_rich(TABLE, Console(width=30)) is None


def test_a_study_leaves_a_page_tables_and_pictures(tmp_path):
    written = write(tmp_path)
    assert written.files == ("study.md", "numbers.png", "numbers.csv")
    assert {path.name for path in written.folder.iterdir()} == {*written.files, "study.json"}
    page = (tmp_path / "study" / "study.md").read_text()
    assert page.startswith("# A study\n\n- One is two.\n\n![What it shows.](numbers.png)")
    assert "Runs: masking: `runs/a`" in page
    assert pl.read_csv(tmp_path / "study" / "numbers.csv").equals(FRAME)
    assert image.imread(tmp_path / "study" / "numbers.png").shape[1] > 300
    info = json.loads((tmp_path / "study" / "study.json").read_text())
    assert (info["seconds"], info["sentences"]) == (1.5, ["One is two."])


def test_a_picture_that_fails_leaves_what_was_there(tmp_path):
    write(tmp_path)
    before = sorted(path.name for path in (tmp_path / "study").iterdir())

    def fail():
        raise ZeroDivisionError

    broken = FINDINGS._replace(pictures={"other": Picture("", fail)})
    with pytest.raises(ZeroDivisionError):
        write(tmp_path, STUDY._replace(run=lambda _: broken))
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_without_matplotlib_there_are_tables_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    written = write(tmp_path)
    assert written.files == ("study.md", "numbers.csv")
    assert "No pictures: pictures need matplotlib" in (tmp_path / "study" / "study.md").read_text()
    assert "![" not in (tmp_path / "study" / "study.md").read_text()


def test_another_folder_of_the_name_is_never_replaced(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine").touch()
    with pytest.raises(UserError, match=r"has no study\.json, so it is not replaced"):
        check_study_folder(tmp_path, STUDY)


def test_the_index_lists_all_studies_that_are_there(tmp_path):
    write(tmp_path)
    write(tmp_path, STUDY._replace(name="another", title="Another"))
    write_index(tmp_path, data_name="tiny")
    page = (tmp_path / "analysis.md").read_text()
    assert page.startswith("# Analysis of tiny\n\n## [Another](another/another.md)\n\n- One is two.")
    assert "## [A study](study/study.md)" in page
