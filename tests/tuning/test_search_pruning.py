import optuna
import pytest
from tiny_runs import tiny_config, tiny_dataset

from piavae_jax.data.prepared import write_prepared
from piavae_jax.training import run_folder
from piavae_jax.tuning.pruning import TrialListener


class Recorder:
    """A trial that is pruned from an epoch on."""

    def __init__(self, prune_at=99):
        self.reported, self.asked, self.user_attrs, self._prune_at = {}, [], {}, prune_at

    def report(self, value, step):
        assert step not in self.reported
        self.reported[step] = value

    def set_user_attr(self, name, value):
        self.user_attrs[name] = value

    def should_prune(self):
        self.asked.append(max(self.reported, default=None))
        return max(self.reported, default=0) >= self._prune_at


def record(epoch, quality):
    return {"epoch": epoch, "validation/ndcg@100": quality}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_prepared(tiny_dataset(), tmp_path_factory.mktemp("data") / "tiny")


def test_the_best_epoch_so_far_is_reported(tmp_path):
    trial = Recorder()
    listener = TrialListener(trial, tmp_path, epochs_reported=0)
    listener.run_started(name="trial", epochs_done=0, epochs=4, steps=1)
    for epoch, quality in enumerate([0.2, 0.5, 0.3, 0.6], start=1):
        listener.epoch_done(record(epoch, quality))
    assert trial.reported == {1: 0.2, 2: 0.5, 3: 0.5, 4: 0.6}
    assert trial.asked == [1, 2, 3]  # nothing is saved by pruning after the last epoch


def test_a_run_is_ended_when_its_trial_is_to_be_pruned(tmp_path):
    listener = TrialListener(Recorder(prune_at=2), tmp_path, epochs_reported=0)
    listener.run_started(name="trial", epochs_done=0, epochs=4, steps=1)
    listener.epoch_done(record(1, 0.2))
    with pytest.raises(optuna.TrialPruned):
        listener.epoch_done(record(2, 0.2))


@pytest.mark.parametrize(
    ("reported", "in_checkpoint", "told"),
    [
        (3, 2, {4: 0.5}),  # epoch 3 is run again, for the checkpoint was older
        (3, 3, {4: 0.5}),
        (2, 3, {3: 0.5, 4: 0.5}),  # killed between the checkpoint and the report
    ],
)
def test_after_a_kill_nothing_is_told_twice_and_nothing_is_missing(dataset, tmp_path, reported, in_checkpoint, told):
    qualities = [0.2, 0.5, 0.3, 0.4]
    run = run_folder.create(tmp_path / "run", tiny_config(), dataset)
    for epoch in range(1, in_checkpoint + 1):
        run_folder.append_metrics(run, record(epoch, qualities[epoch - 1]))
    trial = Recorder()
    listener = TrialListener(trial, run.path, epochs_reported=reported)
    listener.run_started(name="trial", epochs_done=in_checkpoint, epochs=9, steps=1)
    for epoch in range(in_checkpoint + 1, 5):
        listener.epoch_done(record(epoch, qualities[epoch - 1]))
    assert trial.reported == told


def test_a_kill_after_the_decision_does_not_save_a_trial_either(dataset, tmp_path):
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for quality in (0.9, 0.1):
        trial = study.ask()
        listener = TrialListener(trial, tmp_path, epochs_reported=0)
        listener.run_started(name="trial", epochs_done=0, epochs=9, steps=1)
        if quality == 0.9:
            listener.epoch_done(record(1, quality))
            continue
        with pytest.raises(optuna.TrialPruned):
            listener.epoch_done(record(1, quality))
    assert not trial.should_prune()  # which halving says once
    run = run_folder.create(tmp_path / "run", tiny_config(), dataset)
    run_folder.append_metrics(run, record(1, 0.1))
    with pytest.raises(optuna.TrialPruned):
        TrialListener(trial, run.path, epochs_reported=1).run_started(name="trial", epochs_done=1, epochs=9, steps=1)


def test_a_kill_before_the_decision_does_not_save_a_trial(dataset, tmp_path):
    run = run_folder.create(tmp_path / "run", tiny_config(), dataset)
    run_folder.append_metrics(run, record(1, 0.2))
    trial = Recorder(prune_at=0)
    listener = TrialListener(trial, run.path, epochs_reported=1)
    with pytest.raises(optuna.TrialPruned):
        listener.run_started(name="trial", epochs_done=1, epochs=9, steps=1)
