import re
from itertools import pairwise

import numpy as np
import pytest

from piavae_jax.report.charts import interval_chart, line_chart, place_points, shades_of
from piavae_jax.report.projection import project


def coordinates(path):
    return np.array([[float(number) for number in point.split()] for point in re.split("[ML]", path) if point])


def test_a_line_goes_through_its_values():
    records = [{"epoch": epoch, "a": 10.0 - epoch, "b": 3.0} for epoch in range(1, 9)]
    del records[2]["a"]
    chart = line_chart(records, {"a": "A", "b": "B", "missing": "C"}, title="t", best=4)
    assert [line.name for line in chart.lines] == ["A", "B"]
    points = coordinates(chart.lines[0].path)
    assert len(points) == 7
    assert (np.diff(points[:, 0]) > 0).all()
    assert (np.diff(points[:, 1]) > 0).all()  # falling values, y downwards
    ticks = {float(tick.label): tick.at for tick in chart.y_ticks}
    low, high = min(ticks), max(ticks)
    assert low <= 2
    assert high >= 9
    for epoch, value in chart.lines[0].values.items():
        at = ticks[low] + (value - low) / (high - low) * (ticks[high] - ticks[low])
        x = chart.scale[0] + chart.scale[1] * epoch
        assert np.abs(points - [x, at]).sum(axis=1).min() < 0.2
    assert chart.marker == pytest.approx(chart.scale[0] + 4 * chart.scale[1], abs=0.1)
    assert points[0, 0] == pytest.approx(chart.frame["left"], abs=0.1)
    assert points[-1, 0] == pytest.approx(chart.frame["right"], abs=0.1)


@pytest.mark.parametrize("values", [[0.02], [0.0, 0.0], [-1e-5, 3e5], [7.0, 7.0, 7.0]])
def test_lines_stay_inside_the_frame(values):
    records = [{"epoch": epoch, "a": value} for epoch, value in enumerate(values, start=1)]
    chart = line_chart(records, {"a": "A"}, title="t")
    y = coordinates(chart.lines[0].path)[:, 1]
    assert (y >= chart.frame["top"] - 0.1).all()
    assert (y <= chart.frame["bottom"] + 0.1).all()
    assert len({tick.label for tick in chart.y_ticks}) == len(chart.y_ticks)


def test_intervals_are_to_scale():
    entries = [("a", 0.4, 0.35, 0.45, 0, ".4"), ("b", 0.2, float("nan"), float("nan"), 1, ".2")]
    chart = interval_chart(entries, title="t")
    first, second = chart.rows
    ticks = {float(tick.label): tick.at for tick in chart.ticks}
    per_unit = (max(ticks.values()) - min(ticks.values())) / (max(ticks) - min(ticks))
    assert (first.high - first.low) / per_unit == pytest.approx(0.1, abs=0.002)
    assert (first.at - second.at) / per_unit == pytest.approx(0.2, abs=0.002)
    assert second.low == second.high == second.at
    assert first.y < second.y < chart.bottom < chart.height


def test_shades_split_users_evenly_by_history():
    history = np.random.default_rng(0).integers(5, 300, 1000)
    parts, shades = shades_of(history)
    assert [shade.users for shade in shades] == np.bincount(parts).tolist()
    assert max(shade.users for shade in shades) < 250
    assert all(one.high < other.low for one, other in pairwise(shades))
    for part, shade in enumerate(shades):
        assert history[parts == part].min() == shade.low
        assert history[parts == part].max() == shade.high


def test_users_who_are_alike_have_one_shade():
    parts, shades = shades_of(np.full(7, 12))
    assert parts.tolist() == [0] * 7
    assert [tuple(shade) for shade in shades] == [(12, 12, 7)]


@pytest.mark.parametrize("spread", [(1.0, 1.0), (10.0, 1.0), (1.0, 10.0), (0.0, 0.0)])
def test_the_map_keeps_proportions_inside_the_picture(spread):
    points = np.random.default_rng(0).uniform(size=(50, 2)) * spread + 1000
    placed, height = place_points(points, size=640)
    assert (placed >= 13.9).all()
    assert (placed[:, 0] <= 626.1).all()
    assert (placed[:, 1] <= height - 13.9).all()
    before = np.linalg.norm(points[:, None] - points[None, :], axis=-1)
    after = np.linalg.norm(placed[:, None] - placed[None, :], axis=-1)
    if max(spread) > 0:
        np.testing.assert_allclose(after * before.max(), before * after.max(), atol=1e-6 * after.max())


def test_tsne_keeps_groups_apart_and_repeats_itself():
    generator = np.random.default_rng(0)
    centres = 20 * generator.normal(size=(2, 8))
    vectors = (np.repeat(centres, 15, axis=0) + generator.normal(size=(30, 8))).astype(np.float32)
    first, second = project(vectors), project(vectors)
    assert first.method.startswith("t-SNE")
    np.testing.assert_array_equal(first.points, second.points)
    distances = np.linalg.norm(first.points[:, None] - first.points[None, :], axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(axis=1) // 15 == np.arange(30) // 15).all()


def test_few_or_equal_users_are_projected_by_pca():
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    projection = project(vectors)
    assert projection.method == "PCA"
    centred = vectors - vectors.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(projection.points), np.abs(u[:, :2] * s[:2]), atol=1e-5)
    for alone in (vectors[:1], np.ones((40, 3), np.float32)):
        np.testing.assert_allclose(project(alone).points, 0.0, atol=1e-6)
