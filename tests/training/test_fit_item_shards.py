"""Runs with items split over devices: records, checkpoints and results are those of one device."""

import chex
import jax
import numpy as np
import pytest
import tiny_runs

from piavae_jax import UserError
from piavae_jax.data.prepared import write_prepared
from piavae_jax.training.checkpoint import Checkpoints
from piavae_jax.training.fit import fit
from piavae_jax.training.layout import init_split, item_specs
from piavae_jax.training.restore import restore
from piavae_jax.training.results import evaluate_run
from piavae_jax.training.session import make_mesh
from piavae_jax.training.state import init_state

I = 41  # 44 in four shards, 42 in two


def config_of(devices, item_shards, **training):
    config = tiny_runs.tiny_config()
    config.training.devices, config.training.item_shards = devices, item_shards
    config.training.steps_per_dispatch = 4
    for name, value in training.items():
        setattr(config.training, name, value)
    return config


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_runs, "NUM_ITEMS", I)
        return write_prepared(tiny_runs.tiny_dataset(), path)


def measured(run, score, params, dataset, item_shards=1):
    users, popularity = evaluate_run(run, score, params, dataset, item_shards=item_shards)
    return [values[label] for values in (users, popularity) for label in ("ndcg@100", "recall@20")]


def test_a_run_moves_between_layouts(dataset, tmp_path):
    """One epoch on 1 x 4 devices, one on 2 x 2, one on a single device: as if always on that."""
    whole = fit(config_of(1, 1, epochs=3), dataset, tmp_path / "whole")
    path = tmp_path / "run"
    split = fit(config_of(4, 4, epochs=1), dataset, path)
    assert split.params["anchors"].shape == (44, 6)
    assert {shard.data.shape for shard in split.params["anchors"].addressable_shards} == {(11, 6)}
    trained = restore(path)
    assert trained.params["anchors"].shape == (I, 6)
    assert trained.params["anchors"].sharding.device_set == {jax.devices()[0]}
    np.testing.assert_array_equal(trained.params["anchors"], split.params["anchors"][:I])
    np.testing.assert_allclose(
        measured(split.run, split.session.recipe.score, split.params, dataset, item_shards=4),
        measured(trained.run, trained.score, trained.params, dataset),
        atol=1e-6,
    )
    fit(config_of(4, 2, epochs=2), dataset, path)
    moved = fit(config_of(1, 1, epochs=3), dataset, path)
    for ours, theirs in zip(moved.records, whole.records, strict=True):
        np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-4)
        np.testing.assert_allclose(ours["validation/ndcg@100"], theirs["validation/ndcg@100"], atol=1e-3)
    assert moved.best_epoch == whole.best_epoch
    chex.assert_trees_all_close(moved.params, whole.params, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A folder with the start of a run on 1 x 4 devices."""
    path, config = tmp_path_factory.mktemp("start"), config_of(4, 4)
    specs = item_specs(lambda count: init_state(tiny_runs.recipe_of(config, count), config), I)
    mesh = make_mesh(config, item_shards=4)
    state = init_split(lambda: init_state(tiny_runs.recipe_of(config, I), config), specs, mesh)
    with Checkpoints(path) as checkpoints:
        checkpoints.save(state, state.params)
    return path


def like(num_items):
    config = config_of(1, 1)
    return init_state(tiny_runs.recipe_of(config, num_items), config).params


def test_padding_is_all_that_restoring_cuts(checkpoint):
    with Checkpoints(checkpoint, read_only=True) as checkpoints:
        chex.assert_trees_all_close(checkpoints.restore_best(like(I)), like(I), rtol=1e-6)


@pytest.mark.parametrize("num_items", [40, 45])  # 41 to 44 items have 44 rows in four shards
def test_other_sizes_than_padding_explains_are_refused(checkpoint, num_items):
    with (
        Checkpoints(checkpoint, read_only=True) as checkpoints,
        pytest.raises(UserError, match="holds other parameters than its config and vocabulary name"),
    ):
        checkpoints.restore_best(like(num_items))


def test_item_shards_must_divide_the_devices(dataset, tmp_path):
    with pytest.raises(UserError, match=r"item_shards must divide the number of devices, 4, got 3; set it to 1"):
        fit(config_of(4, 3), dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert make_mesh(config_of(4, 2), item_shards=2).shape == {"data": 2, "items": 2}
