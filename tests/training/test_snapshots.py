import jax
import numpy as np
import pytest
from tiny_runs import tiny_config, tiny_dataset

from piavae_jax import UserError
from piavae_jax.config import validate
from piavae_jax.data.prepared import load_prepared, write_prepared
from piavae_jax.training.fit import fit
from piavae_jax.training.recipes import build_recipe
from piavae_jax.training.restore import restore
from piavae_jax.training.snapshots import Snapshots


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tiny"
    write_prepared(tiny_dataset(), path)
    return load_prepared(path)


def run_epochs(dataset, workdir, *, epochs, every=2):
    config = tiny_config(str(dataset.path))
    config.training.epochs, config.training.snapshot_epochs = epochs, every
    with jax.numpy_dtype_promotion("standard"):  # Optax's Adam mixes Python floats with int32 counts
        return fit(validate(config), dataset, workdir)


def read(workdir, epoch):
    trained = restore(workdir)
    with Snapshots(workdir, read_only=True) as snapshots:
        recipe = build_recipe(trained.run.config, trained.run.catalogue)
        return snapshots.restore(epoch, recipe, trained.run.config)


def test_every_so_many_epochs_are_kept_and_are_those_of_the_run(dataset, tmp_path):
    result = run_epochs(dataset, tmp_path / "run", epochs=5)
    with Snapshots(tmp_path / "run", read_only=True) as snapshots:
        assert snapshots.epochs == [2, 4]
    run_epochs(dataset, tmp_path / "two", epochs=2)
    jax.tree.map(np.testing.assert_array_equal, read(tmp_path / "run", 2), read(tmp_path / "two", 2))
    score = result.session.recipe.score
    found = result.session.validation.evaluate(score, read(tmp_path / "run", 4)).summary("ndcg@100").mean
    assert found == pytest.approx(result.records[3]["validation/ndcg@100"])


def test_a_run_that_goes_on_adds_to_them(dataset, tmp_path):
    run_epochs(dataset, tmp_path / "run", epochs=3)
    run_epochs(dataset, tmp_path / "run", epochs=4)
    with Snapshots(tmp_path / "run", read_only=True) as snapshots:
        assert snapshots.epochs == [2, 4]


def test_an_epoch_before_the_last_that_is_kept_is_kept_too(dataset, tmp_path):
    run_epochs(dataset, tmp_path / "run", epochs=4)
    with Snapshots(tmp_path / "run") as snapshots:  # as after a crash, with another snapshot_epochs
        snapshots.save(3, read(tmp_path / "run", 2))
    with Snapshots(tmp_path / "run", read_only=True) as snapshots:
        assert snapshots.epochs == [2, 3, 4]


def test_a_run_without_them_says_how_to_have_them(dataset, tmp_path):
    run_epochs(dataset, tmp_path / "run", epochs=1, every=0)
    assert not (tmp_path / "run" / "snapshots").exists()
    with pytest.raises(UserError, match=r"holds no snapshots: train it with --config.training.snapshot_epochs=10"):
        Snapshots(tmp_path / "run", read_only=True)


def test_a_damaged_one_is_reported(dataset, tmp_path):
    run_epochs(dataset, tmp_path / "run", epochs=2)
    for file in (tmp_path / "run" / "snapshots" / "2").rglob("*"):
        if file.is_file() and "manifest" in file.name:
            file.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "run", 2)
