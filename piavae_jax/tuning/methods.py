"""How settings are drawn and which trials are stopped early: Optuna's methods by the names of `options`."""

import numpy as np
import optuna

_STARTUP_TRIALS = 10
"""Trials that TPE draws at random, and that all run to their end before the median counts."""


def make_sampler(name: str, *, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """The sampler for one trial.

    Each trial has a sampler of its own, whose draws are a function of the seed, of the trial's number and of the trials
    before it: a search that was killed and goes on draws what it would have drawn.
    """
    mixed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if name == "tpe":
        return optuna.samplers.TPESampler(n_startup_trials=_STARTUP_TRIALS, seed=mixed)
    return optuna.samplers.RandomSampler(seed=mixed)


def make_pruner(name: str, *, epochs: int) -> optuna.pruners.BasePruner:
    """The pruner for trials of so many epochs.

    No trial is stopped before a third of its epochs: while beta climbs, the order of the trials says little about the
    end. `halving` lets the best third of the trials that came so far go on from there. `median` stops, there or later
    and once ten trials have finished, one whose best epoch so far is below their median at the same epoch.
    """
    third = -(-epochs // 3)  # rounded up, so that halving's second rung is not before the end
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=third, reduction_factor=3)
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=third)
    return optuna.pruners.NopPruner()
