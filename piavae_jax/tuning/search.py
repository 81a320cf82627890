"""A search from config and space to ranked trials: what `bin/tune.py` does."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict
from optuna import TrialPruned
from optuna.trial import TrialState
from rich.console import Console

from piavae_jax.config import ExperimentConfig, apply_settings, get_field, to_dict, validate
from piavae_jax.data.prepared import PreparedDataset, load_prepared
from piavae_jax.errors import UserError
from piavae_jax.evaluation import parse_metrics
from piavae_jax.training.experiment import Listeners
from piavae_jax.training.failures import FAILURES, describe_failure
from piavae_jax.training.fit import Listener, fit
from piavae_jax.training.progress import ProgressBar
from piavae_jax.training.run_folder import FREE_FIELDS, data_digest
from piavae_jax.training.session import make_mesh
from piavae_jax.tuning.methods import make_pruner, make_sampler
from piavae_jax.tuning.options import SearchOptions, count_trials
from piavae_jax.tuning.progress import describe_progress, describe_start
from piavae_jax.tuning.pruning import TrialListener
from piavae_jax.tuning.report import write_trials
from piavae_jax.tuning.spaces import Space, check_space, grid_points
from piavae_jax.tuning.study import Claim, SharedStudy


def run_search(
    config: ExperimentConfig, space: Space, root: Path, *, options: SearchOptions | None = None, console: Console
) -> SharedStudy:
    """Train trials until there are enough of them; go on where an earlier call with the same arguments stopped.

    Any number of processes may call this alike at the same time and share the trials. Each trial has a run folder in
    `root`. A trial whose process was killed is gone on with, in its place. `trials.csv` is written after every trial.

    Args:
      config: the experiment around which to search.
      space: what to vary.
      root: folder of the search, new or of the same config, data, space and options.
      options: how to search.
      console: told of the progress.

    Raises:
      UserError: for every mistake in config, space or options, before anything is written where that is possible.
    """
    options = options or SearchOptions()
    validate(config)
    if config.fusion.fuses:
        raise UserError("config.fusion must be off in a search, which trains one model a trial; fuse what it finds")
    parse_metrics(config.evaluation.metrics)
    make_mesh(config)
    check_space(config, space, grid=options.sampler == "grid")
    target = count_trials(options, space)
    dataset = load_prepared(config.data.path)
    if dataset.validation.target.nnz == 0:
        raise UserError(f"{config.data.path} has no held-out interactions to validate on; prepare it with more users")
    study = _open_study(config, space, root, options, dataset)
    started, done = time.monotonic(), 0
    while claim := study.claim(target):
        number = claim.trial.number
        console.print(describe_start(number, claim.settings, target=target), highlight=False)
        try:
            state = _run_trial(claim, config, dataset, console)
            study.finish(claim, state, keep_all=options.keep == "all")
        finally:
            claim.owner.release()
        done += 1
        records = write_trials(study, root)
        seconds = (time.monotonic() - started) / done
        console.print(describe_progress(records, number, target=target, seconds_each=seconds), highlight=False)
    return study


def _open_study(
    config: ExperimentConfig, space: Space, root: Path, options: SearchOptions, dataset: PreparedDataset
) -> SharedStudy:
    return SharedStudy(
        root,
        space,
        identity=_identity(config, space, options, dataset),
        fixed=lambda number: _fixed_settings(config, space, options, number),
        sampler=lambda number: make_sampler(options.sampler, seed=options.seed, number=number),
        pruner=make_pruner(options.pruner, epochs=config.training.epochs),
    )


def _identity(
    config: ExperimentConfig, space: Space, options: SearchOptions, dataset: PreparedDataset
) -> dict[str, Any]:
    """What trials must share to be compared, and to be drawn again alike."""
    varied = {*space, *FREE_FIELDS} - {"training.epochs"}
    fields = flatten_dict(to_dict(config), sep=".")
    return {
        "the fields": list(space),
        **{f"--{name}": getattr(options, name) for name in ("sampler", "pruner", "seed")},
        **{f"config.{path}": value for path, value in fields.items() if path not in varied},
        **{f"the space of {path}": str(space[path]) for path in space},
        "data of digest": data_digest(dataset),
    }


def _fixed_settings(
    config: ExperimentConfig, space: Space, options: SearchOptions, number: int
) -> Mapping[str, Any] | None:
    """A grid's points are known; otherwise the first trial is the config as it is, where the space includes it."""
    if options.sampler == "grid":
        return grid_points(space)[number]
    own = {path: get_field(config, path) for path in space}
    return own if number == 0 and all(space[path].includes(value) for path, value in own.items()) else None


def _run_trial(claim: Claim, config: ExperimentConfig, dataset: PreparedDataset, console: Console) -> TrialState:
    try:
        own = apply_settings(config, claim.settings)
    except UserError as error:  # each value may be, but not beside the others
        console.print(f"  {error}", highlight=False, markup=False)
        return TrialState.FAIL
    listeners: list[Listener] = [TrialListener(claim.trial, claim.workdir, epochs_reported=claim.epochs_reported)]
    try:
        with ProgressBar(console) as bar:
            if console.is_terminal:  # a log needs no line for every epoch of every trial
                listeners.insert(0, bar)
            fit(own, dataset, claim.workdir, listener=Listeners(listeners))
    except TrialPruned:
        return TrialState.PRUNED
    except FAILURES as error:
        console.print(f"  {describe_failure(error)}", highlight=False, markup=False)
        return TrialState.FAIL
    return TrialState.COMPLETE
