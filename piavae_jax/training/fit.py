"""The fit loop: train, validate, adapt, remember, until the epochs are done."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from piavae_jax import distributed
from piavae_jax.config import ExperimentConfig
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.errors import UserError
from piavae_jax.training import run_folder
from piavae_jax.training.checkpoint import Checkpoints, abstract, saved_epoch
from piavae_jax.training.epoch import EpochMeans, NonFiniteLoss, run_epoch
from piavae_jax.training.run_folder import RunFolder
from piavae_jax.training.session import SELECTION_METRIC, Session, build_session, start_state
from piavae_jax.training.snapshots import Snapshots
from piavae_jax.training.state import TrainState, record_validation
from piavae_jax.training.warm_start import WarmStart, check_same_start, find_origin, warm_state


class Listener(Protocol):
    """Whoever watches a run: a progress bar, TensorBoard, a notebook, a search that stops runs which promise little.

    What `run_started` or `epoch_done` raises ends `fit` and reaches its caller. The run folder is then whole, and the
    same call goes on from the last checkpoint.
    """

    def run_started(self, *, name: str, epochs_done: int, epochs: int, steps: int) -> None:
        """The first epoch of a run is about to start; `steps` are those of an epoch. A fused model has several runs."""

    def chunk_done(self, *, epoch: int, step: int, means: EpochMeans) -> None:
        """A chunk of an epoch has run; means over the epoch so far."""

    def epoch_done(self, record: dict[str, Any]) -> None:
        """An epoch has been validated; `record` is its line in `metrics.jsonl`."""


class Silent:
    """A listener that does nothing."""

    def run_started(self, *, name: str, epochs_done: int, epochs: int, steps: int) -> None:
        """Do nothing."""

    def chunk_done(self, *, epoch: int, step: int, means: EpochMeans) -> None:
        """Do nothing."""

    def epoch_done(self, record: dict[str, Any]) -> None:
        """Do nothing."""


class FitResult(NamedTuple):
    """A finished run."""

    run: RunFolder
    params: dict
    """Parameters of the best epoch, split over devices where config.training.item_shards says so."""
    session: Session
    best_epoch: int
    """The epoch that gave them."""
    records: list[dict[str, Any]]
    """One for each epoch, as in `metrics.jsonl`."""


def fit(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    workdir: Path,
    *,
    listener: Listener | None = None,
    init_from: WarmStart | None = None,
) -> FitResult:
    """Train a model and leave a run folder behind; go on where an earlier call with the same arguments stopped.

    A run killed at any instant and fitted again ends with the same bits as one never killed (on CPU). All processes of
    a job call this alike, and get the same result; process 0 writes.

    Args:
      config: the experiment, validated.
      dataset: a prepared data set.
      workdir: the run folder, new or of the same config and data.
      listener: told of the progress.
      init_from: an earlier run to start from, in one process; a run that has begun goes on as it began.

    Raises:
      UserError: the folder holds another run, or one that began otherwise; config, data, machine or the earlier run
        disagree.
      NonFiniteLoss: training diverged; the last checkpoint stays.
    """
    listener = listener or Silent()
    session = build_session(config, dataset)
    with ExitStack() as stack:
        run = distributed.primary_first(
            lambda: _open_run(config, dataset, workdir, stack, init_from), lambda: _join_run(config, dataset, workdir)
        )
        checkpoints = stack.enter_context(Checkpoints(workdir))
        snapshots = stack.enter_context(Snapshots(workdir)) if config.training.snapshot_epochs else None
        return _Loop(config, dataset, session, run, checkpoints, snapshots, listener).run()


def _open_run(
    config: ExperimentConfig, dataset: PreparedDataset, workdir: Path, stack: ExitStack, init_from: WarmStart | None
) -> RunFolder:
    stack.enter_context(run_folder.locked(workdir))
    if not run_folder.exists(workdir):
        origin = None if init_from is None else find_origin(init_from, config, dataset)
        return run_folder.create(workdir, config, dataset, origin=origin)
    run = run_folder.load(workdir)
    run_folder.check_resumable(run, config, dataset)
    check_same_start(run, init_from)
    done = saved_epoch(workdir)
    if done > config.training.epochs:
        raise UserError(
            f"{workdir} has been trained for {done} epochs, now config.training.epochs is {config.training.epochs}: "
            "set it to no less, or choose another --config.workdir"
        )
    return run if run.config == config else run_folder.update_config(run, config)


def _join_run(config: ExperimentConfig, dataset: PreparedDataset, workdir: Path) -> RunFolder:
    """The run that process 0 has opened."""
    if not run_folder.exists(workdir):
        raise UserError(
            f"{workdir} is not the folder in which process 0 trains; "
            "put config.workdir on a file system that all processes share"
        )
    run = run_folder.load(workdir)
    run_folder.check_resumable(run, config, dataset)
    return run


class _Loop:
    """One call of `fit`."""

    def __init__(
        self,
        config: ExperimentConfig,
        dataset: PreparedDataset,
        session: Session,
        run: RunFolder,
        checkpoints: Checkpoints,
        snapshots: Snapshots | None,
        listener: Listener,
    ) -> None:
        self._config, self._dataset, self._session, self._run = config, dataset, session, run
        self._checkpoints, self._snapshots, self._listener = checkpoints, snapshots, listener
        self._score = session.recipe.score
        self._saved_at = time.monotonic()

    def run(self) -> FitResult:
        state, best = self._start()
        records = self._records_until(int(state.epoch))
        steps = self._steps(int(state.epoch) + 1)
        epochs = self._config.training.epochs
        name, done = self._config.name, int(state.epoch)
        self._listener.run_started(name=name, epochs_done=done, epochs=epochs, steps=steps)
        while not self._finished(state):
            state, record, improved = self._epoch(state)
            if improved:
                best = jax.tree.map(jnp.copy, state.params)  # the next epoch takes the state's own buffers
            if distributed.is_primary():
                run_folder.append_metrics(self._run, record)
            records.append(record)
            self._keep_snapshot(state)
            self._save(state, best)
            self._listener.epoch_done(record)
        return FitResult(self._run, best, self._session, int(state.best_epoch), records)

    def _steps(self, epoch: int) -> int:
        passes = len(self._session.recipe.passes(epoch))
        return passes * -(-len(self._session.lengths) // self._config.training.batch_size)

    def _start(self) -> tuple[TrainState, dict]:
        if self._checkpoints.epoch is None:
            state = start_state(self._session, self._config)
            if self._run.origin is not None:
                state = warm_state(state, self._run.origin, self._config, self._dataset)
            return state, state.params
        return self._checkpoints.restore(abstract(start_state(self._session, self._config)))

    def _records_until(self, epoch: int) -> list[dict[str, Any]]:
        if distributed.is_primary():
            return run_folder.keep_metrics_until(self._run, epoch)
        return [record for record in run_folder.read_metrics(self._run) if record["epoch"] <= epoch]

    def _finished(self, state: TrainState) -> bool:
        patience = self._config.training.early_stopping
        stalled = int(state.epoch - state.best_epoch)
        return int(state.epoch) >= self._config.training.epochs or 0 < patience <= stalled

    def _epoch(self, state: TrainState) -> tuple[TrainState, dict[str, Any], bool]:
        epoch, started = int(state.epoch) + 1, time.perf_counter()
        in_force = {
            "beta": float(self._session.kl_schedule(state.step)),
            "anchor_weight": float(self._session.weight_schedule(state.anchor_weight)),
        }
        state, means = run_epoch(
            self._session,
            state,
            steps_per_dispatch=self._config.training.steps_per_dispatch,
            on_chunk=lambda step, so_far: self._listener.chunk_done(epoch=epoch, step=step, means=so_far),
        )
        trained = time.perf_counter()
        validation = self._validate(state.params, epoch)
        metric = distributed.agreed(validation[SELECTION_METRIC])
        state, improved = record_validation(state, self._session.weight_schedule, metric)
        record = {
            "epoch": epoch,
            "step": int(state.step),
            "loss": means.loss,
            **_name_terms(means.terms, self._config.model.reconstruction),
            **in_force,
            **{f"validation/{metric}": value for metric, value in validation.items()},
            "best_epoch": int(state.best_epoch),
            "train_seconds": round(trained - started, 4),
            "validation_seconds": round(time.perf_counter() - trained, 4),
            "users_per_second": round(means.users / (trained - started), 1),
        }
        return state, record, improved

    def _validate(self, params: dict, epoch: int) -> dict[str, float]:
        if not _all_finite(params):  # scores do not show it where the anchors alone have diverged
            raise NonFiniteLoss(f"a parameter is not finite after epoch {epoch}; the last good checkpoint is kept")
        try:
            users = self._session.validation.evaluate(self._score, params)
        except FloatingPointError as error:
            raise NonFiniteLoss(
                f"validation after epoch {epoch} failed: {error}; the last checkpoint is kept"
            ) from error
        return {metric: summary.mean for metric, summary in users.summaries().items()}

    def _keep_snapshot(self, state: TrainState) -> None:
        epoch = int(state.epoch)
        if self._snapshots is not None and epoch % self._config.training.snapshot_epochs == 0:
            self._snapshots.save(epoch, state.params)

    def _save(self, state: TrainState, best: dict) -> None:
        due = distributed.agreed(time.monotonic() - self._saved_at) >= self._config.training.checkpoint_seconds
        if due or int(state.epoch) == 1 or self._finished(state):
            self._checkpoints.save(state, best)
            self._saved_at = time.monotonic()


def _name_terms(terms: dict[str, float], judged_by: str) -> dict[str, float]:
    """The losses call `nll` whatever judges a decoded row; a record calls a ranking loss by its name."""
    likelihood = "nll" if judged_by == "multinomial" else judged_by
    return {likelihood if name == "nll" else name: value for name, value in terms.items()}


@jax.jit
def _all_finite(tree: Any) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()
