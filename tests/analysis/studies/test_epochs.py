import shutil

import jax
import numpy as np
import pytest
from material_factory import make_material
from matplotlib import image
from tiny_runs import tiny_config

from piavae_jax import pictures
from piavae_jax.analysis import encode_rows
from piavae_jax.analysis.harness.needs import SNAPSHOT_SERIES
from piavae_jax.analysis.neighbours import nearest_neighbours, neighbour_overlap
from piavae_jax.analysis.studies.epochs import EPOCHS, NEIGHBOURS
from piavae_jax.analysis.subject import load_subject, snapshots_of
from piavae_jax.training.fit import fit


@pytest.fixture(scope="module")
def kept_path(dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "kept"
    config = tiny_config(str(dataset.path))
    config.training.epochs, config.training.snapshot_epochs = 6, 2
    with jax.numpy_dtype_promotion("standard"):
        fit(config, dataset, path)
    return path


def test_lines_are_what_the_snapshots_give(kept_path, dataset, tmp_path):
    found = EPOCHS.run(make_material([kept_path], dataset))
    table = found.tables["epochs"].frame
    assert table["epoch"].to_list() == [2, 4, 6]
    assert table["between_epochs"].null_count() == 1
    means = [
        encode_rows(subject.model, subject.params, dataset.train).mean
        for _, subject in snapshots_of(load_subject(kept_path))
    ]
    nearest = [nearest_neighbours(points, k=NEIGHBOURS) for points in means]
    overlap = neighbour_overlap(nearest[1], nearest[2]).mean()
    assert table["between_epochs"][2] == pytest.approx(overlap)
    np.testing.assert_allclose(table["spread"], [points.var(axis=0).sum() for points in means], rtol=1e-5)
    assert f"{overlap:.0%} at last" in found.sentences[0]
    with pictures.style():
        pictures.save(found.pictures["epochs"].draw(), tmp_path / "epochs.png")
    assert image.imread(tmp_path / "epochs.png")[..., :3].std() > 0.05


def test_snapshots_beyond_the_records_and_half_written_ones_are_passed_over(kept_path, dataset, tmp_path):
    path = tmp_path / "resumed"
    shutil.copytree(kept_path, path)
    lines = (path / "metrics.jsonl").read_text().splitlines()
    (path / "metrics.jsonl").write_text("\n".join(lines[:5]) + "\n")
    assert EPOCHS.run(make_material([path], dataset)).tables["epochs"].frame["epoch"].to_list() == [2, 4]
    shutil.rmtree(path / "snapshots" / "4")
    (path / "snapshots" / "4.orbax-checkpoint-tmp").mkdir()
    assert "has no parameters of several epochs" in SNAPSHOT_SERIES.unmet(make_material([path], dataset))


def test_runs_without_snapshots_are_named(run_path, kept_path, dataset):
    assert SNAPSHOT_SERIES.unmet(make_material([kept_path], dataset)) == ""
    reason = SNAPSHOT_SERIES.unmet(make_material([kept_path, run_path], dataset))
    assert f"{run_path} has no parameters of several epochs: train it with" in reason
