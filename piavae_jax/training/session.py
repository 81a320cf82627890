"""Everything a run needs besides its state: compiled functions and the data on the devices."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import optax
from jax.sharding import AxisType, Mesh

from piavae_jax import distributed
from piavae_jax.config import ExperimentConfig
from piavae_jax.data.batches import Capacity, DeviceRows, plan_capacity, to_device
from piavae_jax.data.prepared import HeldOut, PreparedDataset
from piavae_jax.errors import UserError
from piavae_jax.evaluation import DATA_AXIS, ITEM_AXIS, Evaluator
from piavae_jax.schedules import AdaptiveWeight
from piavae_jax.training.catalogue import catalogue_of
from piavae_jax.training.feed import Feed, send_orders, stream_batches
from piavae_jax.training.layout import init_split
from piavae_jax.training.programs import programs_of
from piavae_jax.training.recipe import Phase, Recipe
from piavae_jax.training.state import TrainState, init_state
from piavae_jax.training.step import RunSteps, inverse_activity

Tree = TypeVar("Tree")
SELECTION_METRIC = "ndcg@100"


class Session(NamedTuple):
    """A run's machinery, a function of its config and data."""

    recipe: Recipe
    run_steps: Mapping[str, RunSteps]
    """By phase of the recipe."""
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
    """All devices; None for a single one."""
    state_specs: Any
    """Which arrays of a state are split along items over the mesh: `PartitionSpec`s, one for all or one each."""
    validation: Evaluator

    @property
    def shards(self) -> int:
        """Devices that share a batch."""
        return _batch_shards(self.mesh)

    def phase(self, name: str) -> Phase:
        """A phase of the recipe."""
        return next(phase for phase in self.recipe.phases if phase.name == name)

    def replicate(self, tree: Tree) -> Tree:
        """Put a copy of every array on every device, where the steps expect it and leave it."""
        return tree if self.mesh is None else distributed.replicate(tree, self.mesh)


def make_mesh(config: ExperimentConfig, *, item_shards: int = 1) -> Mesh | None:
    """A mesh `data` x `items` over the devices of all processes: users are split over the one, tables of items over
    the other.

    Args:
      config: names the number of devices.
      item_shards: size of the axis `items`.

    Returns:
      None for a single device.

    Raises:
      UserError: there are fewer devices than asked for, or more and several processes, or `item_shards` does not divide
        them.
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
    if count % item_shards:
        raise UserError(
            f"config.training.item_shards must divide the number of devices, {count}, got {item_shards}; set it to 1, "
            "or config.training.devices to a multiple of it"
        )
    if count == 1:
        return None
    shape, types = (count // item_shards, item_shards), (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh(shape, (DATA_AXIS, ITEM_AXIS), axis_types=types, devices=jax.devices()[:count])


def _batch_shards(mesh: Mesh | None) -> int:
    return 1 if mesh is None else mesh.shape[DATA_AXIS]


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
    mesh = make_mesh(config, item_shards=config.training.item_shards)
    lengths = dataset.train.lengths
    exponent = config.training.activity_exponent
    user_weight = inverse_activity(lengths, exponent) if exponent else None
    streamed = config.training.interactions == "stream"
    session = Session(
        **programs_of(config, catalogue_of(dataset), user_weight=user_weight, mesh=mesh)._asdict(),
        rows=None if streamed else to_device(dataset.train),
        feed=stream_batches(dataset.train, mesh) if streamed else send_orders(mesh),
        lengths=lengths,
        capacity=plan_capacity(lengths, batch_size=config.training.batch_size, shards=_batch_shards(mesh)),
        batch_size=config.training.batch_size,
        mesh=mesh,
        validation=make_evaluator(config, dataset.validation, dataset, mesh),
    )
    return session._replace(rows=session.replicate(session.rows))


def start_state(session: Session, config: ExperimentConfig) -> TrainState:
    """The state before the first update, where the steps expect it and leave it."""
    init = partial(init_state, session.recipe, config)
    if session.recipe.item_axis is None:
        return session.replicate(init())
    assert session.mesh is not None, "items are split over a mesh"
    return init_split(init, session.state_specs, session.mesh)
