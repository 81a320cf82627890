"""The trials of a search, shared by all processes that tune in one folder: who runs which, and what came of it.

Every change of hands happens under one lock. A trial that runs is owned through a lock of its own, which its process
lets go of however it ends; so a trial without an owner was killed, and whoever comes next goes on with it.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import optuna
from optuna.trial import FrozenTrial, TrialState

from piavae_jax.data.atomic import is_taken
from piavae_jax.errors import UserError
from piavae_jax.training import checkpoint
from piavae_jax.tuning.distributions import Distribution, Float, Int
from piavae_jax.tuning.importance import field_importances
from piavae_jax.tuning.journal import open_journal
from piavae_jax.tuning.records import RUNNING, TrialRecord, best_first, best_record, trial_folder
from piavae_jax.tuning.spaces import Space

_JOURNAL, _NAME, _IDENTITY = "journal.jsonl", "search", "identity"


class Claim(NamedTuple):
    """A trial that is this process's to run."""

    trial: optuna.trial.Trial
    settings: dict[str, Any]
    """Values by field."""
    workdir: Path
    epochs_reported: int
    """Epochs that the study knows of; above 0 where another process died in the trial."""
    owner: filelock.BaseFileLock
    """To be released when the trial has ended, or is given up for someone else to go on with."""


class SharedStudy:
    """The study of a folder.

    Attributes:
      space: what trials vary.
      lock: held while trials change hands, and to write what any process may write.
    """

    def __init__(
        self,
        root: Path,
        space: Space,
        *,
        identity: Mapping[str, Any],
        fixed: Callable[[int], Mapping[str, Any] | None],
        sampler: Callable[[int], optuna.samplers.BaseSampler],
        pruner: optuna.pruners.BasePruner,
    ) -> None:
        """Open the study of a folder, or begin one.

        Args:
          root: the folder.
          space: what trials vary.
          identity: JSON values by name that must stay the same while the study grows.
          fixed: the settings of the n-th trial, from 0, where they are not drawn.
          sampler: draws those of the n-th trial where they are.
          pruner: decides which trials are stopped.

        Raises:
          UserError: the folder holds another study, or something else.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._root, self.space, self._fixed, self._sampler = root, space, fixed, sampler
        _check_root(root)
        root.mkdir(parents=True, exist_ok=True)
        self.lock = filelock.FileLock(root / ".lock")
        with self.lock:
            storage = open_journal(root / _JOURNAL)
            self._study = optuna.create_study(
                storage=storage, study_name=_NAME, direction="maximize", pruner=pruner, load_if_exists=True
            )
            self._check_identity(json.loads(json.dumps(identity)))

    def _check_identity(self, ours: dict[str, Any]) -> None:
        theirs = self._study.user_attrs.get(_IDENTITY)
        if theirs is None:
            self._study.set_user_attr(_IDENTITY, ours)
            return
        for name in {**ours, **theirs}:
            if ours.get(name) != theirs.get(name):
                raise UserError(
                    f"{self._root} was tuned with {name} {theirs.get(name)}, now it is {ours.get(name)}; "
                    "choose another --root, or give the same to go on"
                )

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def records(self) -> list[TrialRecord]:
        """What is known of the trials that have begun, best first."""
        return best_first(self._trials(), self.space)

    def importances(self) -> dict[str, float]:
        """How much each field decides; see `importance.field_importances`."""
        return field_importances(self._trials())

    def claim(self, target: int) -> Claim | None:
        """Take a trial that nobody runs any more, or draw a new one; None where there are `target` trials."""
        with self.lock:
            trials = self._trials()
            for trial in trials:
                if trial.state == TrialState.RUNNING and (owner := self._own(trial.number)):
                    # Optuna's own ways would fail it and begin another one.
                    return self._begin(optuna.trial.Trial(self._study, trial._trial_id), owner)
            if not any(trial.state == TrialState.WAITING for trial in trials):
                if len(trials) >= target:
                    return None
                self._enqueue_fixed(len(trials))
            asked = self._study.ask()
            owner = self._own(asked.number)
            assert owner is not None, "no other process knows of the trial yet"
            return self._begin(asked, owner)

    def _own(self, number: int) -> filelock.BaseFileLock | None:
        owner = filelock.FileLock(self._root / f".{trial_folder(number)}.owner", blocking=False)
        try:
            owner.acquire()
        except filelock.Timeout:
            return None
        return owner

    def _enqueue_fixed(self, number: int) -> None:
        settings = self._fixed(number)
        if settings is not None:
            self._study.enqueue_trial({path: self.space[path].stored(value) for path, value in settings.items()})

    def _begin(self, trial: optuna.trial.Trial, owner: filelock.BaseFileLock) -> Claim:
        self._study.sampler = self._sampler(trial.number)
        settings = {path: entry.value(_suggest(trial, path, entry)) for path, entry in self.space.items()}
        reported = self._trials()[trial.number].last_step or 0
        return Claim(trial, settings, self._root / trial_folder(trial.number), reported, owner)

    def finish(self, claim: Claim, state: TrialState, *, keep_all: bool) -> None:
        """Note that a trial has ended; delete, unless `keep_all`, the checkpoints of all trials but the best."""
        with self.lock:
            reported = self._trials()[claim.trial.number].intermediate_values.values()
            self._study.tell(claim.trial, max(reported) if state == TrialState.COMPLETE else None, state=state)
            Path(claim.owner.lock_file).unlink(missing_ok=True)
            if not keep_all:
                self._drop_checkpoints()

    def _drop_checkpoints(self) -> None:
        records = self.records()
        for record in records:
            if record.state != RUNNING and record is not best_record(records):
                shutil.rmtree(self._root / trial_folder(record.number) / checkpoint.FOLDER, ignore_errors=True)


def _check_root(root: Path) -> None:
    if is_taken(root) and not (root / _JOURNAL).is_file():
        raise UserError(f"{root} exists and holds no search; choose another --root, or empty it")


def _suggest(trial: optuna.trial.Trial, path: str, entry: Distribution) -> Any:
    """Draw the value of a field, or read the one that the trial has already."""
    if isinstance(entry, Float):
        return trial.suggest_float(path, entry.low, entry.high, log=entry.log)
    if isinstance(entry, Int):
        return trial.suggest_int(path, int(entry.low), int(entry.high), log=entry.log)
    return trial.suggest_categorical(path, entry.labels)
