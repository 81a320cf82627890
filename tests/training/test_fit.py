import json
import shutil
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import one_device
import pytest
from tiny_runs import TRAIN_USERS, tiny_config, tiny_dataset

from piavae_jax import UserError
from piavae_jax.data.prepared import write_prepared
from piavae_jax.training import run_folder
from piavae_jax.training.checkpoint import Checkpoints
from piavae_jax.training.epoch import NonFiniteLoss
from piavae_jax.training.fit import Silent, fit
from piavae_jax.training.restore import restore
from piavae_jax.training.results import evaluate_run
from piavae_jax.training.session import build_session
from piavae_jax.training.state import init_state

MEASURED = ("train_seconds", "validation_seconds", "users_per_second")


class Stop(Exception):
    """Raised by a listener in place of a crash."""


class StopAfter(Silent):
    def __init__(self, epoch):
        self._epoch = epoch

    def epoch_done(self, record):
        if record["epoch"] == self._epoch:
            raise Stop


def without_times(records):
    return [{name: value for name, value in record.items() if name not in MEASURED} for record in records]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_prepared(tiny_dataset(), tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    return fit(tiny_config(), dataset, tmp_path_factory.mktemp("runs") / "whole")


def test_leaves_a_whole_run_folder(finished, dataset):
    path = finished.run.path
    assert {file.name for file in path.iterdir()} == {
        "run.json", "config.json", "vocabulary.parquet", "metrics.jsonl", "checkpoints"
    }  # fmt: skip
    assert run_folder.load(path).config == tiny_config()
    vocabulary = run_folder.load(path).vocabulary
    np.testing.assert_array_equal(
        vocabulary["train_users"], np.bincount(dataset.train.indices, minlength=dataset.num_items)
    )
    assert {"jax", "piavae-jax"} <= json.loads((path / "run.json").read_text())["versions"].keys()


def test_records_name_the_ranking_loss_and_count_users_as_the_config_says(dataset, tmp_path):
    config = tiny_config()
    config.model.reconstruction, config.training.activity_exponent = "warp", 0.5
    config.kl.schedule, config.pia.scale, config.training.epochs = "constant", 1.0, 2
    for record in fit(config, dataset, tmp_path / "ranks").records:
        assert "nll" not in record
        terms = record["warp"] + record["beta"] * record["kl"] + record["anchor_weight"] * record["anchor"]
        assert record["loss"] == pytest.approx(terms, rel=1e-5)


def test_records_every_epoch(finished):
    records = run_folder.read_metrics(finished.run)
    assert records == finished.records
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5]
    assert [record["step"] for record in records] == [4, 8, 12, 16, 20]
    best = max(records, key=lambda record: record["validation/ndcg@100"])
    assert records[-1]["best_epoch"] == best["epoch"]
    for record in records:
        total = record["nll"] + record["anchor_weight"] * record["anchor"]
        assert total <= record["loss"] <= total + 0.2 * record["kl"]  # beta climbs within an epoch


def test_a_stopped_run_goes_on_to_the_same_bits(finished, dataset, tmp_path):
    for epoch in (1, 3):
        with pytest.raises(Stop):
            fit(tiny_config(checkpoint_seconds=0), dataset, tmp_path / "run", listener=StopAfter(epoch))
    resumed = fit(tiny_config(), dataset, tmp_path / "run")
    chex.assert_trees_all_equal(resumed.params, finished.params)
    assert without_times(resumed.records) == without_times(finished.records)
    with Checkpoints(tmp_path / "run") as ours, Checkpoints(finished.run.path, read_only=True) as theirs:
        like = init_state(resumed.session.recipe, tiny_config())
        chex.assert_trees_all_equal(
            *(jax.tree.map(_raw, checkpoints.restore(like)[0]) for checkpoints in (ours, theirs))
        )


def _raw(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def test_records_past_the_checkpoint_are_written_anew(finished, dataset, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished.run.path, copy)
    with (copy / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 6, "loss": 1.0}\n{"epoch": 7, "lo')
    resumed = fit(tiny_config(), dataset, copy)
    assert resumed.records == finished.records
    assert run_folder.read_metrics(resumed.run) == finished.records


def test_saving_survives_the_donation_of_the_saved_state(dataset, tmp_path):
    """The files hold the state at the time of the call, whatever later steps write into its buffers."""
    session = build_session(tiny_config(), dataset)
    state = init_state(session.recipe, tiny_config())
    expected = jax.device_get(state.params)
    order = jnp.asarray(np.arange(48, dtype=np.int32).reshape(3, 16))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, jax.tree.map(jnp.copy, state.params))
        for _ in range(5):
            state, _ = session.run_steps["joint"](state, session.rows, order, session.capacity.batch)
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        restored, best = checkpoints.restore(init_state(session.recipe, tiny_config()))
    chex.assert_trees_all_equal(restored.params, expected)
    chex.assert_trees_all_equal(best, expected)


def test_the_best_epoch_is_what_is_restored(finished, dataset):
    trained = restore(finished.run.path)
    chex.assert_trees_all_equal(trained.params, finished.params)
    users, popularity = evaluate_run(trained.run, trained.score, trained.params, dataset, split="validation")
    best = max(record["validation/ndcg@100"] for record in finished.records)
    np.testing.assert_allclose(users.summary("ndcg@100").mean, best, rtol=1e-6)
    assert len(popularity) == len(users)


def test_all_users_are_trained_on_in_every_epoch(dataset, tmp_path):
    seen = []

    class Count(Silent):
        def chunk_done(self, *, epoch, step, means):
            seen.append((epoch, step, means.users))

    fit(tiny_config(), dataset, tmp_path / "run", listener=Count())
    assert [users for epoch, step, users in seen if step == 4] == [TRAIN_USERS] * 5


@pytest.mark.parametrize("devices", [3, 4])  # three do not divide the batch of 16
def test_several_devices_reach_the_same_metrics(finished, dataset, tmp_path, devices):
    config = tiny_config()
    config.training.devices = devices
    records = fit(config, dataset, tmp_path / "run").records
    for ours, theirs in zip(records, finished.records, strict=True):
        np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-4)
        measured = [name for name in theirs if name.startswith("validation/")]
        assert measured
        np.testing.assert_allclose([ours[name] for name in measured], [theirs[name] for name in measured], atol=2e-3)


def test_fewer_epochs_than_were_trained_are_refused(dataset, tmp_path):
    config = tiny_config()
    config.training.epochs = 2
    fit(config, dataset, tmp_path / "run")
    config.training.epochs = 1
    before = (tmp_path / "run" / "config.json").read_text()
    with pytest.raises(
        UserError, match=r"has been trained for 2 epochs, now config.training.epochs is 1: set it to no"
    ):
        fit(config, dataset, tmp_path / "run")
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_early_stopping(dataset, tmp_path):
    config = tiny_config()
    config.optimizer.learning_rate = 0.0  # nothing can improve after the first epoch
    config.training.early_stopping, config.training.epochs = 2, 50
    records = fit(config, dataset, tmp_path / "run").records
    assert [record["best_epoch"] for record in records] == [1, 1, 1]
    assert [record["anchor_weight"] for record in records] == [2, 2, 4]
    assert fit(config, dataset, tmp_path / "run").records == records  # finished stays finished


def test_divergence_stops_the_run_names_the_step_and_keeps_the_checkpoint(dataset, tmp_path):
    config = tiny_config()
    config.optimizer.name, config.optimizer.learning_rate = "sgd", 1e30
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, step \d of the epoch|after epoch 1 failed"):
        fit(config, dataset, tmp_path / "run")

    class Poison(Silent):
        def epoch_done(self, record):
            if record["epoch"] == 2:
                raise Stop

    run = tmp_path / "good"
    with pytest.raises(Stop):
        fit(tiny_config(checkpoint_seconds=0), dataset, run, listener=Poison())
    with Checkpoints(run) as checkpoints:
        state, best = checkpoints.restore(init_state(build_session(tiny_config(), dataset).recipe, tiny_config()))
        poisoned = jax.tree.map(lambda leaf: leaf * jnp.float32(jnp.nan), state.params)
        checkpoints.save(state._replace(params=poisoned, epoch=state.epoch + 1), best)
    with pytest.raises(NonFiniteLoss, match="the loss is nan in epoch 4, step 1 of the epoch"):
        fit(tiny_config(), dataset, run)
    chex.assert_trees_all_equal(restore(run).params, best)


def test_another_config_is_refused_by_the_field_that_differs(finished, dataset):
    config = tiny_config()
    config.pia.weight = 4.0
    with pytest.raises(UserError, match=r"was trained with config.pia.weight=2.0, now it is 4.0; choose another"):
        fit(config, dataset, finished.run.path)


def test_a_run_may_get_more_epochs(dataset, tmp_path):
    config = tiny_config()
    config.training.epochs = 2
    fit(config, dataset, tmp_path / "run")
    longer = tiny_config()
    records = fit(longer, dataset, tmp_path / "run").records
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5]
    assert run_folder.load(tmp_path / "run").config == longer


def test_one_process_at_a_time(dataset, tmp_path):
    with run_folder.locked(tmp_path / "run"), pytest.raises(UserError, match="is being trained by another process"):
        fit(tiny_config(), dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_of_several_devices_is_restored_on_one(dataset, tmp_path):
    config = tiny_config()
    config.training.devices = 4
    expected = fit(config, dataset, tmp_path / "run").params
    code = (
        "import sys, pathlib, numpy, jax; from piavae_jax.training.restore import restore\n"
        "assert jax.device_count() == 1\n"
        "params = restore(pathlib.Path(sys.argv[1])).params\n"
        "numpy.save(sys.argv[2], params['anchors'])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run"), str(tmp_path / "anchors.npy")]
    subprocess.run(command, check=True, env=one_device.ENVIRONMENT, timeout=120)
    np.testing.assert_array_equal(np.load(tmp_path / "anchors.npy"), expected["anchors"])


def test_a_run_in_training_is_restored_from_the_checkpoint_that_it_has_by_now(dataset, tmp_path, monkeypatch):
    def train(epochs):
        config = tiny_config(checkpoint_seconds=0)
        config.training.epochs = epochs
        return fit(config, dataset, tmp_path / "run")

    read = Checkpoints.restore_best

    def too_late(checkpoints, like):
        monkeypatch.undo()
        assert checkpoints.epoch == 2
        train(epochs=4)
        return read(checkpoints, like)

    train(epochs=2)
    monkeypatch.setattr(Checkpoints, "restore_best", too_late)
    restored = restore(tmp_path / "run").params
    chex.assert_trees_all_equal(restored, train(epochs=4).params)


def test_anchors_that_are_not_finite_are_never_saved(dataset, tmp_path):
    config = tiny_config()
    config.pia.anchor_std = 1e38  # their squares overflow, the scores never see them
    config.pia.weight = 0.0
    with pytest.raises(NonFiniteLoss, match=r"in epoch 1|after epoch 1"):
        fit(config, dataset, tmp_path / "run")
    with Checkpoints(tmp_path / "run") as checkpoints:
        assert checkpoints.epoch is None


def test_other_data_are_refused(finished, tmp_path):
    other = write_prepared(tiny_dataset(seed=1), tmp_path / "other")
    with pytest.raises(UserError, match="was trained on other data"):
        fit(tiny_config(), other, finished.run.path)


def test_other_vocabularies_are_refused_in_evaluation(finished, dataset):
    trained = restore(finished.run.path)
    renamed = trained.run.vocabulary.with_columns(item_id=trained.run.vocabulary["item_id"] + "x")
    with pytest.raises(UserError, match="has another item vocabulary"):
        evaluate_run(trained.run._replace(vocabulary=renamed), trained.score, trained.params, dataset)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "run.json").unlink(), "is not a run folder"),
        (lambda path: (path / "config.json").write_text("{"), "is damaged"),
        (
            lambda path: (path / "config.json").write_text("[]"),
            r"config.json: config must map fields to values, got \[\]",
        ),
        (lambda path: (path / "config.json").write_text('{"pia": 3}'), "config.json: config.pia must map fields"),
        (lambda path: (path / "run.json").write_text("[]"), "is damaged"),
        (lambda path: (path / "vocabulary.parquet").write_bytes(b"PAR1"), "is damaged"),
        (lambda path: shutil.rmtree(path / "checkpoints"), "holds no checkpoint"),
        (
            lambda path: (path / "run.json").write_text(
                (path / "run.json").read_text().replace('"format_version": 2', '"format_version": 99')
            ),
            "has format version 99, this library reads 2",
        ),
        (
            lambda path: (path / "config.json").write_text(
                (path / "config.json").read_text().replace('"latent_dim": 6', '"latent_dim": 7')
            ),
            "holds other parameters than its config",
        ),
        (
            lambda path: [file.write_bytes(b"") for file in path.glob("checkpoints/*/best/*") if file.is_file()],
            "cannot be read",
        ),
    ],
)
def test_damaged_runs_are_refused(finished, tmp_path, damage, message):
    copy = tmp_path / "run"
    shutil.copytree(finished.run.path, copy)
    damage(copy)
    with pytest.raises(UserError, match=message):
        restore(copy)


def test_there_must_be_as_many_devices_as_asked_for(dataset, tmp_path):
    config = tiny_config()
    config.training.devices = 99
    with pytest.raises(UserError, match="devices must be at most"):
        fit(config, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()
