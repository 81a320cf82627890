"""The trials of a search and their owners; a quick function in place of training."""

import itertools
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from piavae_jax import UserError
from piavae_jax.tuning.distributions import Choice, Float, Int
from piavae_jax.tuning.methods import make_sampler
from piavae_jax.tuning.spaces import grid_points
from piavae_jax.tuning.study import SharedStudy

SPACE = {"x": Float(0.01, 10, log=True), "n": Int(0, 9), "kind": Choice([(1,), (2, 3)])}
DIE = """
import sys
sys.path.insert(0, {folder!r})
from pathlib import Path
from test_study import make_study
study = make_study(Path(sys.argv[1]))
claim = study.claim(9)
claim.trial.report(0.5, 1)
print("running", flush=True)
import time; time.sleep(60)
"""


def make_study(root, *, space=None, sampler="tpe", seed=0, identity=None, fixed=None, pruner=None):
    return SharedStudy(
        root,
        space or SPACE,
        identity={"seed": seed} if identity is None else identity,
        fixed=fixed or (lambda number: None),
        sampler=lambda number: make_sampler(sampler, seed=seed, number=number),
        pruner=pruner or optuna.pruners.NopPruner(),
    )


def quality(settings):
    return 1 / (1 + abs(settings["x"] - 1)) + 0.01 * settings["n"] + (settings["kind"] == (1,))


def complete(study, claim):
    claim.trial.report(quality(claim.settings), 1)
    study.finish(claim, TrialState.COMPLETE, keep_all=False)
    claim.owner.release()


def play(study, target):
    while claim := study.claim(target):
        complete(study, claim)
    return study


def settings_by_number(study):
    return [dict(record.settings) for record in sorted(study.records(), key=lambda record: record.number)]


def test_values_are_of_the_space(tmp_path):
    records = play(make_study(tmp_path, sampler="random"), 15).records()
    assert [record.state for record in records] == ["finished"] * 15
    assert all(entry.includes(record.settings[path]) for record in records for path, entry in SPACE.items())
    assert {record.settings["kind"] for record in records} == {(1,), (2, 3)}
    assert [record.quality for record in records] == sorted((quality(r.settings) for r in records), reverse=True)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_that_stops_and_goes_on_draws_what_it_would_have_drawn(tmp_path, sampler):
    alone = play(make_study(tmp_path / "alone", sampler=sampler), 16)
    for target in (3, 4, 11, 16):  # past the ten random trials with which TPE starts
        study = play(make_study(tmp_path / "stopped", sampler=sampler), target)
        given_up = study.claim(target + 1)  # one trial more, that nobody finishes
        if given_up:
            given_up.owner.release()
    assert settings_by_number(study)[:16] == settings_by_number(alone)
    other = play(make_study(tmp_path / "other", sampler=sampler, seed=1), 2)
    assert settings_by_number(other) != settings_by_number(alone)[:2]


def test_tpe_learns(tmp_path):
    records = sorted(play(make_study(tmp_path), 40).records(), key=lambda record: record.number)
    early, late = ([quality(record.settings) for record in part] for part in (records[:10], records[-10:]))
    assert sum(late) > sum(early)


def test_a_trial_without_an_owner_is_gone_on_with(tmp_path):
    first = make_study(tmp_path)
    complete(first, first.claim(3))
    given_up = first.claim(3)
    given_up.trial.report(0.25, 1)
    given_up.trial.report(0.5, 2)
    given_up.owner.release()
    again = make_study(tmp_path).claim(3)
    assert (again.trial.number, again.settings, again.workdir) == (1, given_up.settings, given_up.workdir)
    assert (given_up.epochs_reported, again.epochs_reported) == (0, 2)


def test_a_process_killed_in_a_trial_lets_go_of_it(tmp_path):
    code = DIE.format(folder=str(Path(__file__).parent))
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"running\n"
    study = make_study(tmp_path)
    other = study.claim(9)
    assert other.trial.number == 1  # the first has an owner
    process.kill()
    process.communicate()
    adopted = study.claim(9)
    assert (adopted.trial.number, adopted.epochs_reported) == (0, 1)
    play(study, 3)
    assert [record.state for record in study.records()] == ["finished", "running", "running"]


def test_a_trial_killed_while_it_was_drawn_is_drawn_to_its_end(tmp_path, monkeypatch):
    study = make_study(tmp_path)
    suggest_int = optuna.trial.Trial.suggest_int

    def die(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(optuna.trial.Trial, "suggest_int", die)
    with pytest.raises(KeyboardInterrupt):
        study.claim(2)
    monkeypatch.setattr(optuna.trial.Trial, "suggest_int", suggest_int)
    (half,) = study.records()
    assert list(half.settings) == ["x"]
    del study
    whole = make_study(tmp_path).claim(2)
    assert whole.trial.number == 0
    assert whole.settings["x"] == half.settings["x"]
    assert list(whole.settings) == list(SPACE)


def test_processes_share_trials_without_doing_one_twice(tmp_path):
    studies = [make_study(tmp_path) for _ in range(3)]
    claims = [study.claim(5) for study in itertools.islice(itertools.cycle(studies), 5)]
    assert [claim.trial.number for claim in claims] == [0, 1, 2, 3, 4]
    assert len({claim.settings["x"] for claim in claims}) == 5
    assert [study.claim(5) for study in studies] == [None, None, None]
    for study, claim in zip(itertools.cycle(studies), claims, strict=False):
        complete(study, claim)
    assert len(studies[2].records()) == 5


def test_fixed_settings_come_first_and_a_grid_is_covered_once(tmp_path):
    points = grid_points(space := {"kind": Choice([(1,), (2, 3)]), "on": Choice([True, False]), "x": Choice([1, 0.5])})
    study = make_study(tmp_path / "grid", space=space, fixed=lambda number: points[number])
    while claim := study.claim(len(points)):
        claim.trial.report(0.1, 1)
        study.finish(claim, TrialState.COMPLETE, keep_all=True)
        claim.owner.release()
    assert settings_by_number(study) == points
    own = {"x": 0.5, "n": 3, "kind": (2, 3)}
    study = make_study(tmp_path / "own", fixed=lambda number: own if number == 0 else None)
    first, second = study.claim(2), study.claim(2)
    assert first.settings == own
    assert second.settings != own


@pytest.mark.parametrize(
    ("keep_all", "kept"), [(False, ["trial-001"]), (True, ["trial-000", "trial-001", "trial-002"])]
)
def test_the_best_trial_alone_keeps_its_checkpoint_or_all_do(tmp_path, keep_all, kept):
    study = make_study(tmp_path)
    for value in (0.2, 0.6, 0.4):
        claim = study.claim(3)
        (claim.workdir / "checkpoints").mkdir(parents=True)
        claim.trial.report(value, 1)
        study.finish(claim, TrialState.COMPLETE, keep_all=keep_all)
    assert sorted(path.parent.name for path in tmp_path.glob("trial-*/checkpoints")) == kept
    assert len(list(tmp_path.glob("trial-*"))) == 3


def test_a_pruned_and_a_failed_trial_end(tmp_path):
    study = make_study(tmp_path)
    for state in (TrialState.PRUNED, TrialState.FAIL):
        claim = study.claim(2)
        claim.trial.report(0.5, 3)
        study.finish(claim, state, keep_all=False)
    assert [(record.state, record.quality, record.epochs) for record in study.records()] == [
        ("pruned", 0.5, 3),
        ("failed", 0.5, 3),
    ]
    assert study.claim(2) is None


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({"seed": 1, "sizes": (3,)}, r"was tuned with seed 0, now it is 1; choose another --root, or give the same"),
        ({"seed": 0, "sizes": (4,)}, r"was tuned with sizes \[3\], now it is \[4\]"),
        ({"seed": 0}, r"was tuned with sizes \[3\], now it is None"),
        ({"seed": 0, "sizes": (3,), "new": 1}, r"was tuned with new None, now it is 1"),
    ],
)
def test_another_search_is_refused(tmp_path, theirs, message):
    make_study(tmp_path, identity={"seed": 0, "sizes": (3,)})
    make_study(tmp_path, identity={"seed": 0, "sizes": [3]})
    with pytest.raises(UserError, match=message):
        make_study(tmp_path, identity=theirs)


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match="exists and holds no search; choose another --root, or empty it"):
        make_study(tmp_path)
    assert not (tmp_path / "journal.jsonl").exists()
