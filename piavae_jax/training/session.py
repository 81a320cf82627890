"""Everything a run needs besides its state: compiled functions and the data on the devices."""

from functools import cache
from typing import NamedTuple, TypeVar

import jax
import numpy as np
import optax
from jax.sharding import AxisType, Mesh

from piavae_jax import distributed, schedules
from piavae_jax.config import ExperimentConfig
from piavae_jax.data.batches import Capacity, DeviceRows, plan_capacity, to_device
from piavae_jax.data.prepared import HeldOut, PreparedDataset
from piavae_jax.errors import UserError
from piavae_jax.evaluation import DATA_AXIS, Evaluator
from piavae_jax.models import Model, multvae
from piavae_jax.schedules import AdaptiveWeight
from piavae_jax.training.feed import Feed, send_orders, stream_batches
from piavae_jax.training.objective import make_loss_fn
from piavae_jax.training.state import make_optimizer, make_weight_schedule
from piavae_jax.training.step import RunSteps, make_run_steps, make_train_step

Tree = TypeVar("Tree")
SELECTION_METRIC = "ndcg@100"


class Session(NamedTuple):
    """A run's machinery, a function of its config and data."""

    model: Model
    run_steps: RunSteps
    kl_schedule: optax.Schedule
    weight_schedule: AdaptiveWeight
    rows: DeviceRows | None
    """Training interactions, on every device; None where they are streamed."""
    feed: Feed
    """Puts on the devices what the next steps need besides `rows`."""
    lengths: np.ndarray
    """int64[U_train]."""
    capacity: Capacity
    batch_size: int
    """B, over all devices."""
    mesh: Mesh | None
    """The devices that share a batch; None for a single one."""
    validation: Evaluator

    @property
    def shards(self) -> int:
        """Devices that share a batch."""
        return 1 if self.mesh is None else self.mesh.size

    def replicate(self, tree: Tree) -> Tree:
        """Put a copy of every array on every device, where the steps expect it and leave it."""
        return tree if self.mesh is None else distributed.replicate(tree, self.mesh)


def build_model(config: ExperimentConfig, num_items: int) -> Model:
    """The model that a config names, for a vocabulary of I items."""
    choice = config.model
    return _build_multvae(num_items, tuple(choice.hidden), choice.latent_dim, choice.precision)


@cache  # runs of one architecture share a model, and with it what is compiled for it
def _build_multvae(num_items: int, hidden: tuple[int, ...], latent_dim: int, precision: str) -> Model:
    return multvae(num_items, hidden=hidden, latent_dim=latent_dim, precision=precision)


def make_mesh(config: ExperimentConfig) -> Mesh | None:
    """A one-dimensional mesh over the devices, of all processes, that share each batch; None for a single device.

    Raises:
      UserError: there are fewer devices than asked for, or more and several processes.
    """
    available = jax.device_count()
    count = config.training.devices or available
    if count > available:
        raise UserError(
            f"config.training.devices must be at most {available}, the devices here, got {count}; 0 takes all"
        )
    if count < available and jax.process_count() > 1:
        raise UserError(
            f"config.training.devices must be 0 where {jax.process_count()} processes train, got {count}; "
            "start fewer processes instead"
        )
    if count == 1:
        return None
    return jax.make_mesh((count,), (DATA_AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])


def metric_labels(config: ExperimentConfig) -> tuple[str, ...]:
    """The metrics to report, the one that selects the model among them."""
    return tuple(dict.fromkeys((SELECTION_METRIC, *config.evaluation.metrics)))


def make_evaluator(
    config: ExperimentConfig, heldout: HeldOut, dataset: PreparedDataset, mesh: Mesh | None = None
) -> Evaluator:
    """The evaluator of a config on a data set's validation or test users."""
    return Evaluator(
        heldout,
        num_items=dataset.num_items,
        user_ids=dataset.users["user_id"].gather(heldout.users),
        metrics=metric_labels(config),
        batch_size=config.evaluation.batch_size,
        mesh=mesh,
    )


def build_session(config: ExperimentConfig, dataset: PreparedDataset) -> Session:
    """Put a run's machinery together; raises UserError where config and machine disagree."""
    mesh = make_mesh(config)
    shards = 1 if mesh is None else mesh.size
    model = build_model(config, dataset.num_items)
    kl_schedule = schedules.linear_to_cap(cap=config.kl.cap, total_steps=config.kl.total_steps)
    weight_schedule = make_weight_schedule(config)
    train_step = make_train_step(make_loss_fn(model, config), make_optimizer(config), kl_schedule, weight_schedule)
    lengths = dataset.train.lengths
    streamed = config.training.interactions == "stream"
    session = Session(
        model=model,
        run_steps=make_run_steps(train_step, mesh),
        kl_schedule=kl_schedule,
        weight_schedule=weight_schedule,
        rows=None if streamed else to_device(dataset.train),
        feed=stream_batches(dataset.train, mesh) if streamed else send_orders(mesh),
        lengths=lengths,
        capacity=plan_capacity(lengths, batch_size=config.training.batch_size, shards=shards),
        batch_size=config.training.batch_size,
        mesh=mesh,
        validation=make_evaluator(config, dataset.validation, dataset, mesh),
    )
    return session._replace(rows=session.replicate(session.rows))
