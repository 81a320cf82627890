"""Searches whole, with training: what stands behind bin/tune.py."""

import csv
import dataclasses
import io
import json
import shlex

import jax
import numpy as np
import optuna
import pytest
from rich.console import Console
from tiny_runs import HELDOUT_USERS, tiny_config, tiny_dataset

from piavae_jax import UserError
from piavae_jax import config as configs
from piavae_jax.data.csr import from_pairs
from piavae_jax.data.prepared import write_prepared
from piavae_jax.training import run_folder
from piavae_jax.training.epoch import NonFiniteLoss
from piavae_jax.training.fit import fit
from piavae_jax.training.restore import restore
from piavae_jax.tuning import search
from piavae_jax.tuning.distributions import Choice, Float, Int
from piavae_jax.tuning.options import SearchOptions
from piavae_jax.tuning.report import report_search
from piavae_jax.tuning.search import run_search
from piavae_jax.tuning.study import SharedStudy

RATES = {"optimizer.learning_rate": Choice([0.0, 0.01])}
GRID = SearchOptions(sampler="grid", pruner="none")


def make_console():
    return Console(file=io.StringIO(), width=100)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tiny"
    write_prepared(tiny_dataset(), path)
    return str(path)


@pytest.fixture
def config(data):
    config = tiny_config(data)
    config.training.epochs = 3
    return config


@pytest.fixture(scope="module")
def rates(data, tmp_path_factory):
    """A grid of two learning rates, of which one does not learn: its folder, study and what it printed."""
    config = tiny_config(data)
    config.training.epochs = 3
    root, console = tmp_path_factory.mktemp("rates") / "root", make_console()
    study = run_search(config, RATES, root, options=GRID, console=console)
    report_search(study, config, root, file="configs/tiny.py", overrides={"seed": 3}, console=console)
    return root, study, console.file.getvalue()


def read_csv(root):
    with (root / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_better_of_two_settings_is_found(rates, config):
    root, study, printed = rates
    best, worst = study.records()
    assert best.settings == {"optimizer.learning_rate": 0.01}
    assert best.quality > worst.quality + 0.05
    assert (best.state, worst.state) == ("finished", "finished")
    records = run_folder.read_metrics(run_folder.load(root / "trial-001"))
    assert best.quality == max(record["validation/ndcg@100"] for record in records)
    assert records[best.best_epoch - 1]["validation/ndcg@100"] == best.quality
    assert "trial 1 (2 of 2)  optimizer.learning_rate=0.01" in printed
    assert f"best {best.quality:.4f} (trial 1)" in printed


def test_files_say_what_was_found(rates, config):
    root, study, _ = rates
    rows = read_csv(root)
    assert [row["trial"] for row in rows] == ["1", "0"]
    assert float(rows[0]["validation/ndcg@100"]) == study.records()[0].quality
    assert [row["optimizer.learning_rate"] for row in rows] == ["0.01", "0.0"]
    best = configs.from_dict(json.loads((root / "best_config.json").read_text()))
    config.optimizer.learning_rate = 0.01
    assert best == config
    assert (root / "parallel_coordinates.png").read_bytes().startswith(b"\x89PNG")
    assert not (root / "importance.png").exists()
    assert not [path for path in root.iterdir() if path.name.startswith((".trials", ".best", ".parallel"))]


def test_the_report_ends_with_the_commands_to_go_on_with(rates):
    root, _, printed = rates
    assert "no importance.png: importances need at least 8 trials" in printed
    assert f"next  python bin/evaluate.py --workdir {root}/trial-001" in printed
    command = printed.splitlines()[-1].removeprefix("or    ")
    assert shlex.split(command) == [
        "python", "bin/train.py", "--config", "configs/tiny.py", "--config.seed=3",
        "--config.optimizer.learning_rate=0.01", "--config.name=tiny-best",
    ]  # fmt: skip


def test_the_best_trial_alone_can_be_restored(rates):
    root, _, _ = rates
    assert restore(root / "trial-001").run.config.optimizer.learning_rate == 0.01
    with pytest.raises(UserError, match="holds no checkpoint"):
        restore(root / "trial-000")


def test_what_is_done_is_not_done_again(rates, config, monkeypatch):
    root, study, _ = rates
    monkeypatch.setattr(search, "fit", None)
    again = run_search(config, RATES, root, options=GRID, console=make_console())
    assert again.records() == study.records()


@pytest.mark.parametrize(
    ("change", "space", "options", "message"),
    [
        (
            {"pia.weight": 1.0},
            RATES,
            GRID,
            r"was tuned with config.pia.weight 2.0, now it is 1.0; choose another --root",
        ),
        ({"training.epochs": 4}, RATES, GRID, r"was tuned with config.training.epochs 3, now it is 4"),
        (
            {},
            {"seed": Choice([1])},
            GRID,
            r"was tuned with the fields \['optimizer.learning_rate'\], now it is \['seed'\]",
        ),
        (
            {},
            {"optimizer.learning_rate": Choice([0.0, 0.1])},
            GRID,
            r"was tuned with the space of optimizer.learning_rate Choice\(options=\(0.0, 0.01\)\), now it is Choice",
        ),
        ({}, RATES, SearchOptions(sampler="tpe"), r"was tuned with --sampler grid, now it is tpe"),
        ({}, RATES, GRID._replace(seed=1), r"was tuned with --seed 0, now it is 1"),
    ],
)
def test_another_search_in_the_same_folder_is_refused(rates, config, change, space, options, message):
    root, _, _ = rates
    changed = configs.apply_settings(config, change)
    with pytest.raises(UserError, match=message):
        run_search(changed, space, root, options=options, console=make_console())


def test_fields_that_change_nothing_may_change(rates, config, monkeypatch):
    root, _, _ = rates
    monkeypatch.setattr(search, "fit", None)
    config.training.checkpoint_seconds, config.optimizer.learning_rate, config.workdir = 9.0, 0.5, "elsewhere"
    run_search(config, RATES, root, options=GRID, console=make_console())


def test_other_data_are_refused(rates, config, tmp_path):
    root, _, _ = rates
    write_prepared(tiny_dataset(seed=1), tmp_path / "other")
    config.data.path = str(tmp_path / "other")
    with pytest.raises(UserError, match="was tuned with data of digest"):
        run_search(config, RATES, root, options=GRID, console=make_console())


def interrupt(run, *, trial, epoch):
    """Run a search that is interrupted in an epoch of a trial, before the trial hears of the epoch."""
    epoch_done = search.TrialListener.epoch_done

    def hear(self, record):
        if self._trial.number == trial and record["epoch"] == epoch:
            raise KeyboardInterrupt
        epoch_done(self, record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search.TrialListener, "epoch_done", hear)
        with pytest.raises(KeyboardInterrupt):
            run()


def _interrupted(*_, **__):
    raise KeyboardInterrupt


def test_an_interrupted_search_ends_as_one_left_alone(config, tmp_path):
    config.training.checkpoint_seconds = 0

    def run(root):
        options = SearchOptions(trials=2, sampler="random")
        return run_search(config, {"seed": Int(0, 99)}, tmp_path / root, options=options, console=make_console())

    alone = run("alone")
    interrupt(lambda: run("root"), trial=0, epoch=2)
    interrupt(lambda: run("root"), trial=1, epoch=1)  # before it is decided whether the trial is pruned
    with pytest.MonkeyPatch.context() as patch:  # and when it is decided, before the study is told
        patch.setattr(SharedStudy, "finish", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("root")
    study = run("root")
    assert study.records() == alone.records()
    assert read_csv(tmp_path / "root") == read_csv(tmp_path / "alone")
    assert [record.epochs for record in study.records()] == [3, 1]


def test_the_config_as_it_is_comes_first(data, tmp_path, monkeypatch):
    config = tiny_config(data)
    trained = []

    def remember(config, dataset, workdir, *, listener):
        trained.append((config.pia.weight, config.mask.keep_prob))
        raise NonFiniteLoss("not trained")

    monkeypatch.setattr(search, "fit", remember)
    options = SearchOptions(trials=2, sampler="random")
    inside = {"pia.weight": Float(1, 4), "mask.keep_prob": Float(0.4, 0.9)}
    run_search(config, inside, tmp_path / "inside", options=options, console=make_console())
    assert trained[0] == (2.0, 0.5)
    outside = {**inside, "pia.weight": Float(3, 4)}
    run_search(config, outside, tmp_path / "outside", options=options, console=make_console())
    assert trained[2][0] >= 3
    assert trained[2][1] != 0.5


def test_a_trial_that_promises_little_is_pruned(data, tmp_path, monkeypatch):
    config, console = tiny_config(data), make_console()
    config.training.epochs = 4
    at_once = optuna.pruners.MedianPruner(n_startup_trials=1)
    monkeypatch.setattr(search, "make_pruner", lambda name, *, epochs: at_once if name == "median" else None)
    options = GRID._replace(pruner="median")
    study = run_search(
        config, {"optimizer.learning_rate": Choice([0.01, 0.0])}, tmp_path, options=options, console=console
    )
    finished, pruned = study.records()
    assert (finished.state, pruned.state, pruned.number) == ("finished", "pruned", 1)
    assert 1 <= pruned.epochs < 4
    run = run_folder.load(tmp_path / "trial-001")
    assert len(run_folder.read_metrics(run)) == pruned.epochs
    assert read_csv(tmp_path)[-1]["state"] == "pruned"
    assert f"when pruned after {pruned.epochs} epochs" in console.file.getvalue()


def test_a_grid_goes_on_after_a_setting_that_diverges(config, tmp_path):
    config.optimizer.name = "sgd"
    space = {"optimizer.learning_rate": Choice([1e30, 0.01])}
    console = make_console()
    study = run_search(config, space, tmp_path, options=GRID, console=console)
    assert [(record.state, record.number) for record in study.records()] == [("finished", 1), ("failed", 0)]
    assert "failed in its first epoch" in console.file.getvalue()
    report_search(study, config, tmp_path, file="x.py", overrides={}, console=console)
    assert len(study.records()) == 2


def test_settings_that_want_too_much_memory_fail_their_trial_alone(config, tmp_path, monkeypatch):
    def want_memory(own, dataset, workdir, *, listener):
        if own.model.latent_dim == 9:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nAllocation summary")
        return fit(own, dataset, workdir, listener=listener)

    monkeypatch.setattr(search, "fit", want_memory)
    space, console = {"model.latent_dim": Choice([9, 3])}, make_console()
    study = run_search(config, space, tmp_path, options=GRID, console=console)
    assert [(record.state, record.number) for record in study.records()] == [("finished", 1), ("failed", 0)]
    assert "  JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory\n" in console.file.getvalue()


def test_settings_that_cannot_go_together_fail_their_trial_alone(config, tmp_path):
    config.mask.kind = "per_user"
    space = {"mask.low": Choice([0.6]), "mask.high": Choice([0.5, 1.0])}
    console = make_console()
    options = SearchOptions(sampler="random", pruner="none", trials=4, seed=1)
    study = run_search(config, space, tmp_path, options=options, console=console)
    states = {(record.state, record.settings["mask.high"]) for record in study.records()}
    assert states == {("finished", 1.0), ("failed", 0.5)}
    assert "config.mask.low and high must be 0 < low <= high <= 1, got (0.6, 0.5)" in console.file.getvalue()


def test_fused_models_are_refused(config, tmp_path):
    config.fusion.linear = "ease"
    with pytest.raises(UserError, match=r"config.fusion must be off in a search"):
        run_search(config, RATES, tmp_path / "root", options=GRID, console=make_console())


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        ({}, SearchOptions(), "a space must vary at least one field"),
        ({"pia.wait": Choice([1])}, SearchOptions(), "pia.wait is no field of the config"),
        ({"mask.low": Choice([0.2, 0.6]), "mask.high": Choice([0.5, 1.0])}, GRID, "config.mask.low and high must be"),
        ({"pia.weight": Float(1, 2)}, SearchOptions(sampler="grid"), "a grid needs Choice for every field"),
        (RATES, SearchOptions(sampler="cma"), "--sampler must be one of tpe, random, grid, got 'cma'"),
        (RATES, SearchOptions(pruner="all"), "--pruner must be one of halving, median, none, got 'all'"),
        (RATES, SearchOptions(keep="none"), "--keep must be one of best, all, got 'none'"),
        (RATES, SearchOptions(trials=0), "--trials must be at least 1, got 0"),
        (RATES, SearchOptions(seed=-1), "--seed must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_written(config, tmp_path, space, options, message):
    with pytest.raises(UserError, match=message):
        run_search(config, space, tmp_path / "root", options=options, console=make_console())
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluation.metrics": ("ndgc@100",)}, "ndgc@100"),
        ({"training.devices": 99}, "config.training.devices must be at most"),
    ],
)
def test_a_config_that_cannot_be_trained_is_refused_before_anything_is_written(config, tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        run_search(
            configs.apply_settings(config, settings), RATES, tmp_path / "root", options=GRID, console=make_console()
        )
    assert not (tmp_path / "root").exists()


def test_data_without_validation_targets_are_refused(config, tmp_path):
    dataset = tiny_dataset()
    nothing = from_pairs(np.array([], int), np.array([], int), num_rows=HELDOUT_USERS)
    validation = dataclasses.replace(dataset.validation, target=nothing)
    write_prepared(dataclasses.replace(dataset, validation=validation), tmp_path / "data")
    config.data.path = str(tmp_path / "data")
    with pytest.raises(UserError, match="has no held-out interactions to validate on"):
        run_search(config, RATES, tmp_path / "root", options=GRID, console=make_console())
    assert not (tmp_path / "root").exists()
