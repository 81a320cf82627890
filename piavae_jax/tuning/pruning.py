"""A trial as a run sees it: told of each epoch's quality, it may end the run."""

from pathlib import Path
from typing import Any

import optuna

from piavae_jax.training import run_folder
from piavae_jax.training.fit import Silent
from piavae_jax.training.session import SELECTION_METRIC

_QUALITY = f"validation/{SELECTION_METRIC}"
_PRUNED = "pruned"


class TrialListener(Silent):
    """A `Listener` that reports the best validation nDCG@100 so far to a trial, and ends a run that is to be pruned.

    What counts is the best epoch, which is the model that a run leaves; so trials are compared by it at every epoch.
    """

    def __init__(self, trial: optuna.trial.Trial, workdir: Path, *, epochs_reported: int) -> None:
        """Listen to the run in `workdir`, of which the trial knows the first `epochs_reported` epochs already."""
        self._trial, self._workdir, self._reported = trial, workdir, epochs_reported
        self._best = 0.0
        self._epochs = 0

    def run_started(self, *, name: str, epochs_done: int, epochs: int, steps: int) -> None:  # noqa: ARG002  a listener's
        """Hear of the epochs that an earlier process ran; it may have died before it could tell, or stop.

        Raises:
          TrialPruned: it was about to stop, or should have.
        """
        if self._trial.user_attrs.get(_PRUNED):
            raise optuna.TrialPruned
        self._epochs = epochs
        if epochs_done:
            for record in run_folder.read_metrics(run_folder.load(self._workdir)):
                self.epoch_done(record)

    def epoch_done(self, record: dict[str, Any]) -> None:
        """Report an epoch.

        Raises:
          TrialPruned: the run is not worth its remaining epochs.
        """
        epoch = record["epoch"]
        self._best = max(self._best, record[_QUALITY])
        if epoch > self._reported:
            self._trial.report(self._best, epoch)
        if self._reported <= epoch < self._epochs and self._trial.should_prune():
            self._trial.set_user_attr(_PRUNED, True)  # asked again at the same epoch, halving would let it go on
            raise optuna.TrialPruned
