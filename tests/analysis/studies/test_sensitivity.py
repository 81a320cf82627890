import csv
import itertools
import json
import shutil

import pytest
from material_factory import make_material

from piavae_jax import pictures
from piavae_jax.analysis.studies.sensitivity import SENSITIVITY_STUDY, choose_slice, read_points
from piavae_jax.errors import UserError

WEIGHTS, PATIENCES, SCALES = (0.5, 2.0), (3, 5), (1.0, 2.0, 3.0)
FIELDS = ("pia.weight", "pia.patience", "pia.scale")


def quality(weight, patience, scale):
    return round(0.4 - 0.01 * weight + 0.001 * patience - 0.002 * scale, 4)


@pytest.fixture(scope="module")
def search(run_path, tmp_path_factory):
    """A grid as bin/tune.py leaves it, one trial pruned, and the checkpoint of one trial kept."""
    root = tmp_path_factory.mktemp("search")
    config = json.loads((run_path / "config.json").read_text())
    lines = []
    for number, values in enumerate(itertools.product(WEIGHTS, PATIENCES, SCALES)):
        kept = values == (2.0, 5, 2.0)
        folder = root / f"trial-{number:03}"
        shutil.copytree(run_path, folder, ignore=None if kept else shutil.ignore_patterns("checkpoints"))
        config["pia"] |= dict(zip(("weight", "patience", "scale"), values, strict=True))
        (folder / "config.json").write_text(json.dumps(config))
        lines.append([number, "finished", quality(*values), 1, 2, *values])
    lines[0][1] = "pruned"
    with (root / "trials.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", "validation/ndcg@100", "best_epoch", "epochs", *FIELDS])
        writer.writerows(lines)
    return root


@pytest.fixture(scope="module")
def findings(search):
    return SENSITIVITY_STUDY.run(make_material(sensitivity=search))


def test_points_are_the_trials_that_finished(search):
    points = read_points(search)
    assert len(points) == 11
    assert all(point.quality == quality(point.weight, point.patience, point.scale) for point in points)


def test_the_curve_is_at_the_papers_patience_and_scale_or_near_them(search):
    points = read_points(search)
    assert choose_slice(points) == (5, 2.0)
    assert choose_slice([point for point in points if (point.patience, point.scale) != (5, 2.0)]) == (5, 1.0)
    # More values of lambda_A come before nearness.
    some = [point for point in points if point.patience == 5 or point.weight == 2.0]
    assert choose_slice([point for point in some if point.scale == 3.0 or point.weight == 2.0]) == (5, 3.0)


def test_test_metrics_are_there_where_the_checkpoint_was_kept(findings):
    low, high = findings.tables["lambda_A"].frame.iter_rows(named=True)
    assert (low["lambda_A"], low["validation/ndcg@100"], low["test_ndcg@100"]) == (0.5, quality(0.5, 5, 2.0), None)
    assert 0 < high["test_ndcg@100"] < 1
    assert high["test_ndcg@100_standard_error"] > 0
    assert any("Test metrics are there for 1 of 2 values of lambda_A" in text for text in findings.sentences)


def test_sentences_name_the_best_and_the_papers_region(findings):
    assert "lambda_A 0.5, patience 5, scale 1, validation nDCG@100 .3980" in findings.sentences[0]
    assert "2 trials lie between .3810 and .3960" in findings.sentences[1]  # patience 5, scale 2


def test_cells_show_the_trials_and_miss_the_one_that_was_pruned(findings):
    with pictures.style():
        figure = findings.pictures["patience_and_scale"].draw()
    low, high = figure.axes[:2]
    assert [axes.get_title(loc="left") for axes in (low, high)] == ["lambda_A = 0.5", "lambda_A = 2"]
    assert [text.get_text() for text in low.texts] == ["", ".3940", ".3920", ".3980", ".3960", ".3940"]
    assert len(low.patches) == 1  # the best is framed
    assert not high.patches


def test_the_curve_shows_validation_and_test(findings):
    with pictures.style():
        figure = findings.pictures["lambda_A"].draw()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["validation nDCG@100", "test nDCG@100", "test Recall@20", "test Recall@50"]


def rewrite(search, tmp_path, change):
    shutil.copytree(search, tmp_path / "search", ignore=shutil.ignore_patterns("checkpoints"))
    path = tmp_path / "search" / "trials.csv"
    path.write_text(change(path.read_text()))
    return tmp_path / "search"


def test_another_search_is_refused(search, tmp_path):
    other = rewrite(search, tmp_path, lambda text: text.replace("pia.scale", "kl.cap"))
    with pytest.raises(UserError, match=r"must vary pia\.weight and, .* got pia\.weight, pia\.patience, kl\.cap"):
        read_points(other)


def test_a_search_without_finished_trials_is_refused(search, tmp_path):
    with pytest.raises(UserError, match=r"no trial of .* has finished"):
        read_points(rewrite(search, tmp_path, lambda text: text.replace("finished", "running")))
    (tmp_path / "search" / "trials.csv").unlink()
    with pytest.raises(UserError, match=r"has no trials\.csv"):
        read_points(tmp_path / "search")


def test_a_trial_that_was_deleted_is_missed(search, tmp_path):
    root = rewrite(search, tmp_path, lambda text: text)
    shutil.rmtree(root / "trial-003")
    with pytest.raises(UserError, match=r"names trial 3, whose run folder is not there: restore a copy"):
        read_points(root)


def test_a_grid_of_lambda_a_alone_has_one_row_of_cells(search, tmp_path):
    def keep(text):
        lines = text.splitlines()
        return "\n".join([lines[0], *(line for line in lines[1:] if line.endswith(",5,2.0"))])

    findings = SENSITIVITY_STUDY.run(make_material(sensitivity=rewrite(search, tmp_path, keep)))
    assert findings.tables["patience_and_scale"].frame.height == 2
    with pictures.style():
        assert len(findings.pictures["patience_and_scale"].draw().axes) == 3  # two maps and the colours
