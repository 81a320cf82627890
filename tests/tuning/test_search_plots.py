import sys

import matplotlib.image
import numpy as np
import pytest

from piavae_jax import UserError
from piavae_jax.tuning.distributions import Choice, Float, Int
from piavae_jax.tuning.plots import draw_importances, draw_parallel_coordinates
from piavae_jax.tuning.records import TrialRecord

SPACE = {"pia.weight": Float(0.05, 8, log=True), "pia.patience": Int(3, 15), "model.hidden": Choice([(9,), (9, 9)])}
RED = (214, 39, 40)  # tab:red


def make_record(number, state, quality, weight=1.0, hidden=(9,)):
    settings = {"pia.weight": weight, "pia.patience": 3 + number, "model.hidden": hidden}
    return TrialRecord(number, state, settings, quality, 1, 2)


RECORDS = [
    make_record(3, "finished", 0.4, weight=0.5),
    make_record(0, "finished", 0.3, weight=8.0, hidden=(9, 9)),
    make_record(1, "pruned", 0.2, weight=0.05),
    make_record(2, "running", None),
]


def pixels(path):
    return (matplotlib.image.imread(path)[..., :3] * 255).round().astype(int)


def is_red(image):
    return (np.abs(image - RED) < 3).all(axis=-1)


def test_the_best_trial_is_marked_from_the_first_axis_to_the_last(tmp_path):
    draw_parallel_coordinates(RECORDS, SPACE, tmp_path / "trials.png", title="tiny")
    image = pixels(tmp_path / "trials.png")
    assert image.shape[0] > 500
    assert image.shape[1] > 900
    columns = np.flatnonzero(is_red(image)[: int(0.9 * image.shape[0])].any(axis=0))  # above the legend
    assert columns[0] < 0.2 * image.shape[1]
    assert columns[-1] > 0.8 * image.shape[1]


def test_a_wider_space_makes_a_wider_picture(tmp_path):
    draw_parallel_coordinates(RECORDS, SPACE, tmp_path / "wide.png", title="")
    narrow = {"pia.patience": SPACE["pia.patience"]}
    records = [record._replace(settings={"pia.patience": 4}) for record in RECORDS]
    draw_parallel_coordinates(records, narrow, tmp_path / "narrow.png", title="")
    assert pixels(tmp_path / "narrow.png").shape[1] < pixels(tmp_path / "wide.png").shape[1]


def test_a_pruned_trial_does_not_squeeze_the_axis_of_quality(tmp_path):
    draw_parallel_coordinates(RECORDS, SPACE, tmp_path / "low.png", title="")
    lower = [record._replace(quality=0.001) if record.state == "pruned" else record for record in RECORDS]
    draw_parallel_coordinates(lower, SPACE, tmp_path / "lower.png", title="")
    np.testing.assert_array_equal(pixels(tmp_path / "low.png"), pixels(tmp_path / "lower.png"))


def test_without_a_finished_trial_there_is_no_picture(tmp_path):
    with pytest.raises(UserError, match="no trial has finished"):
        draw_parallel_coordinates(RECORDS[2:], SPACE, tmp_path / "none.png", title="")
    assert not (tmp_path / "none.png").exists()


def test_bars_are_as_long_as_importances(tmp_path):
    draw_importances({"large": 0.8, "small": 0.2}, tmp_path / "bars.png", title="")
    blue = (np.abs(pixels(tmp_path / "bars.png") - (0, 114, 178)) < 3).all(axis=-1)
    lengths = blue.sum(axis=1)
    lengths = lengths[lengths > 0]
    assert lengths[0] == pytest.approx(4 * lengths[-1], rel=0.05)
    assert lengths[0] > 300


def test_pictures_need_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"pictures need matplotlib; install it with: pip install 'piavae-jax\[tune\]'"):
        draw_importances({"one": 1.0}, tmp_path / "bars.png", title="")
