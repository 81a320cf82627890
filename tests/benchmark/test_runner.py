import dataclasses

import numpy as np
import pytest
from fakes import fake_system

from piavae_jax.benchmark.records import read_records
from piavae_jax.benchmark.runner import check_held_out, run_systems
from piavae_jax.data.csr import from_pairs
from piavae_jax.errors import UserError
from piavae_jax.training.epoch import NonFiniteLoss


def printed(console):
    return console.file.getvalue()


def test_what_is_done_is_not_run_again(tmp_path, dataset, console):
    calls = []
    systems = [fake_system("a", calls=calls), fake_system("b", seeds=False, calls=calls)]
    run_systems(systems, dataset, tmp_path, seeds=2, console=console)
    assert calls == [("a", 0), ("b", 0), ("a", 1)]
    run_systems([*systems, fake_system("c", calls=calls)], dataset, tmp_path, seeds=2, console=console)
    assert calls[3:] == [("c", 0), ("c", 1)]
    assert "3 of 5 runs are done already" in printed(console)
    assert "4/5  C, seed 0  (about 4.7 s left)" in printed(console)  # of two runs, by what the others took
    assert len(read_records(tmp_path)) == 5


def test_lines_say_what_runs_and_how_long_is_left(tmp_path, dataset, console):
    run_systems([fake_system("a"), fake_system("b", seeds=False)], dataset, tmp_path, seeds=2, console=console)
    lines = printed(console).splitlines()
    # An outcome took its training time at least: 2 s for seed 0.
    assert lines[0] == "1/3  A, seed 0"
    assert lines[1].startswith("    validation nDCG@100 .")
    assert lines[1].endswith(" in 2.0 s")
    assert lines[2] == "2/3  B  (about 4.0 s left)"
    assert lines[4] == "3/3  A, seed 1  (about 2.0 s left)"


def test_a_fusion_takes_no_time_for_members_that_others_trained(tmp_path, dataset, console):
    run_systems([fake_system("a")._replace(family="fusion")], dataset, tmp_path, seeds=1, console=console)
    (record,) = read_records(tmp_path)
    assert record.seconds < record.outcome.train_seconds


@pytest.mark.parametrize(
    "error", [NonFiniteLoss("the loss is nan\nat step 3"), np.linalg.LinAlgError("Singular matrix"), MemoryError()]
)
def test_a_system_that_fails_is_left_and_tried_again(tmp_path, dataset, console, error):
    calls = []
    systems = [fake_system("bad", error=error, calls=calls), fake_system("good", calls=calls)]
    run_systems(systems, dataset, tmp_path, seeds=1, console=console)
    bad, good = read_records(tmp_path)
    reason = {"NonFiniteLoss": ": the loss is nan", "LinAlgError": ": Singular matrix", "MemoryError": ""}
    assert bad.error == type(error).__name__ + reason[type(error).__name__]
    assert (bad.outcome, good.error) == (None, "")
    assert f"failed: {bad.error}" in printed(console)
    run_systems(systems, dataset, tmp_path, seeds=1, console=console)
    assert calls == [("bad", 0), ("good", 0), ("bad", 0)]


@pytest.mark.parametrize("error", [UserError("config.x must be y"), KeyboardInterrupt(), ZeroDivisionError()])
def test_everything_else_ends_the_command_and_leaves_it_resumable(tmp_path, dataset, console, error):
    calls = []
    systems = [fake_system("a", calls=calls), fake_system("b", error=error, calls=calls)]
    with pytest.raises(type(error)):
        run_systems(systems, dataset, tmp_path, seeds=1, console=console)
    assert [record.system for record in read_records(tmp_path)] == ["a"]
    run_systems([systems[0], fake_system("b", calls=calls)], dataset, tmp_path, seeds=1, console=console)
    assert calls == [("a", 0), ("b", 0), ("b", 0)]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_data_that_nothing_can_be_measured_on_are_refused(dataset, split):
    nothing = from_pairs(np.array([], int), np.array([], int), num_rows=12)
    emptied = dataclasses.replace(getattr(dataset, split), target=nothing)
    with pytest.raises(UserError, match=f"got none for {split}: prepare it with more held-out users"):
        check_held_out(dataclasses.replace(dataset, **{split: emptied}))
    check_held_out(dataset)
