import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from piavae_jax import UserError
from piavae_jax.tuning.importance import field_importances

DISTRIBUTIONS = {
    "matters": FloatDistribution(0, 1),
    "idle": FloatDistribution(0, 1),
    "kind": CategoricalDistribution(["a", "b", "c"]),
}


def make_trials(count, quality, *, state=lambda params: TrialState.COMPLETE):
    generator = np.random.default_rng(0)
    trials = []
    for _ in range(count):
        params = {
            "matters": float(generator.random()),
            "idle": float(generator.random()),
            "kind": str(generator.choice(["a", "b", "c"])),
        }
        became, value = state(params), quality(params)
        trials.append(
            create_trial(
                state=became,
                params=params,
                distributions=DISTRIBUTIONS,
                value=value if became == TrialState.COMPLETE else None,
                intermediate_values={1: value},
            )
        )
    return trials


def test_the_field_that_decides_has_nearly_all():
    shares = field_importances(make_trials(60, lambda params: params["matters"]))
    assert next(iter(shares)) == "matters"
    assert shares["matters"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) == set(DISTRIBUTIONS)
    shares = field_importances(make_trials(60, lambda params: (params["kind"] == "b") + 0.01 * params["idle"]))
    assert shares["kind"] > 0.6


def test_a_field_that_decides_who_is_pruned_counts():
    """Pruning leaves the finished trials alike in `matters`; they alone would not show what it does."""

    def quality(params):
        return float(params["matters"] > 0.7) + 0.001 * params["idle"]

    def state(params):
        return TrialState.COMPLETE if params["matters"] > 0.7 else TrialState.PRUNED

    trials = make_trials(80, quality, state=state)
    assert field_importances(trials)["matters"] > 0.5
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert field_importances(finished)["matters"] < 0.5


def test_a_failed_trial_is_not_among_the_best():
    def state(params):
        return TrialState.FAIL if params["matters"] < 0.5 else TrialState.COMPLETE

    shares = field_importances(make_trials(60, lambda params: 2.0 - params["matters"], state=state))
    like_all = field_importances(make_trials(60, lambda params: (2.0 - params["matters"]) * (params["matters"] >= 0.5)))
    assert shares == pytest.approx(like_all)


def test_waiting_and_running_trials_do_not_count():
    trials = make_trials(20, lambda params: params["matters"])
    study = optuna.create_study()
    study.ask()
    study.enqueue_trial({"matters": 0.5})
    assert field_importances([*trials, *study.trials]) == field_importances(trials)


def test_too_little_to_tell_is_refused():
    with pytest.raises(UserError, match="importances need at least 8 trials that have ended, got 7; run more"):
        field_importances(make_trials(7, lambda params: params["matters"]))
    with pytest.raises(
        UserError, match="importances need trials of more differing quality, most of the 20 have the same"
    ):
        field_importances(make_trials(20, lambda params: 0.25))
