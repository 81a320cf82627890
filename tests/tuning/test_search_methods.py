import optuna
import pytest
from optuna.trial import TrialState

from piavae_jax.tuning.methods import make_pruner, make_sampler

EPOCHS = 40
THIRD = 14


def draw(name, *, seed, number, finished=0):
    """What the sampler of a trial draws after some finished trials."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(finished):
        trial = study.ask()
        study.tell(trial, -abs(trial.suggest_float("x", 0, 1) - 0.5))
    study.sampler = make_sampler(name, seed=seed, number=number)
    return study.ask().suggest_float("x", 0, 1)


@pytest.mark.parametrize("name", ["tpe", "random"])
@pytest.mark.parametrize("finished", [0, 20])
def test_draws_are_a_function_of_seed_and_number(name, finished):
    first = draw(name, seed=1, number=2, finished=finished)
    assert draw(name, seed=1, number=2, finished=finished) == first
    others = [draw(name, seed=seed, number=number, finished=finished) for seed, number in ((1, 3), (2, 2), (2, 1))]
    assert len({first, *others}) == 4


def test_tpe_looks_at_the_trials_before_and_random_does_not():
    draws = {name: [draw(name, seed=0, number=n, finished=100) for n in range(20)] for name in ("tpe", "random")}
    near = {name: sum(abs(x - 0.5) < 0.15 for x in values) for name, values in draws.items()}
    assert near["tpe"] > 15
    assert near["random"] < 12


def play(pruner, qualities, *, num_epochs=EPOCHS):
    """Trials of constant quality, one after the other: the epochs that each runs."""
    study = optuna.create_study(direction="maximize", pruner=pruner)
    epochs = []
    for quality in qualities:
        trial = study.ask()
        for epoch in range(1, num_epochs + 1):
            trial.report(quality, epoch)
            if epoch < num_epochs and trial.should_prune():  # after the last epoch nobody asks
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, quality)
        epochs.append(epoch)
    return epochs


def test_the_median_stops_what_is_below_it_after_ten_trials_and_a_third_of_the_epochs():
    first = [0.1 * n for n in range(10)]
    pruner = make_pruner("median", epochs=EPOCHS)
    assert play(pruner, [*first, 0.2, 0.7, 0.0]) == [EPOCHS] * 10 + [THIRD, EPOCHS, THIRD]


@pytest.mark.parametrize("num_epochs", [4, 39, 40, 130])
def test_halving_lets_the_best_third_so_far_go_on(num_epochs):
    third = -(-num_epochs // 3)
    qualities = [0.5, 0.4, 0.9, 0.1, 0.2, 0.3, 0.6, 0.55]
    expected = [0.5, 0.9, 0.6]  # of one, three and seven trials the best one, one and two
    epochs = play(make_pruner("halving", epochs=num_epochs), qualities, num_epochs=num_epochs)
    assert epochs == [num_epochs if quality in expected else third for quality in qualities]


@pytest.mark.parametrize("name", ["halving", "median"])
def test_a_run_of_two_epochs_has_a_pruner_too(name):
    assert play(make_pruner(name, epochs=2), [0.5]) == [EPOCHS]


def test_none_stops_nothing():
    assert play(make_pruner("none", epochs=EPOCHS), [0.5] + [0.1] * 12) == [EPOCHS] * 13
