"""The train step, pure, and chunks of steps that run on the device without the host."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec

from piavae_jax.data.batches import DeviceRows, PackedBatch, gather_batch, unpack_batch
from piavae_jax.evaluation import DATA_AXIS
from piavae_jax.schedules import AdaptiveWeight
from piavae_jax.training.recipe import Phase
from piavae_jax.training.state import TrainState, step_key
from piavae_jax.types import SparseBatch


class StepSums(NamedTuple):
    """Sums over the real users of a step's batch, over all devices."""

    users: jax.Array
    """float32[], users in the batch."""
    loss: jax.Array
    """float32[], what is minimised."""
    terms: Any
    """The loss's terms without their weights: a NamedTuple of float32[]."""


TrainStep = Callable[..., tuple[TrainState, StepSums]]

UserWeight = Callable[[jax.Array], jax.Array]
"""Of users with `lengths: int32[B]` interactions, what each counts: float32[B]."""


@dataclasses.dataclass(frozen=True)
class InverseActivity:
    """A `UserWeight`: users count `n^-exponent`, over the mean of that. Equal ones compare as equal."""

    exponent: float
    mean: float

    def __call__(self, lengths: jax.Array) -> jax.Array:
        """The weights."""
        return jnp.maximum(lengths, 1).astype(jnp.float32) ** -self.exponent / np.float32(self.mean)


def inverse_activity(lengths: np.ndarray, exponent: float) -> InverseActivity:
    """Weights with which the most active users do not decide.

    Args:
      lengths: int[U], interactions of each training user, for the mean.
      exponent: at least 0; with 0 all count alike.
    """
    power = float(exponent)  # NumPy has no negative powers of whole numbers with whole exponents
    return InverseActivity(power, float(np.mean(np.maximum(lengths, 1) ** -power, dtype=np.float64)))


def make_train_step(
    phase: Phase,
    kl_schedule: optax.Schedule,
    weight_schedule: AdaptiveWeight,
    user_weight: UserWeight | None = None,
) -> TrainStep:
    """Build `train_step(state, batch, *, axis_name=None) -> (state, StepSums)` of a recipe's phase.

    A `user_weight` multiplies each user's loss and terms.

    The step is pure. Each device sums its users' losses and gradients; sums and counts, not means, are reduced over
    `axis_name`, so padded rows and unequal shards change nothing. It runs under `jit`, and under `shard_map` (with
    `check_vma=False`) or `pmap` with the name of the mapped axis.
    """

    def train_step(
        state: TrainState, batch: SparseBatch, *, axis_name: str | None = None
    ) -> tuple[TrainState, StepSums]:
        beta, anchor_weight = kl_schedule(state.step), weight_schedule(state.anchor_weight)

        def summed_loss(trained: dict) -> tuple[jax.Array, StepSums]:
            params = {**state.params, **trained}
            loss, terms = phase.loss_fn(params, batch, beta=beta, anchor_weight=anchor_weight, key=step_key(state))
            users = jnp.sum(batch.row_mask, dtype=jnp.float32)
            per_user = (loss, terms)
            if user_weight is not None:
                weights = user_weight(batch.lengths)
                per_user = jax.tree.map(lambda x: weights * x, per_user)
            total, totals = jax.tree.map(lambda x: jnp.sum(jnp.where(batch.row_mask, x, 0.0)), per_user)
            return total, StepSums(users, total, totals)

        trained = {entry: state.params[entry] for entry in phase.trained}
        gradients, sums = jax.grad(summed_loss, has_aux=True)(trained)
        if axis_name is not None:
            gradients, sums = jax.lax.psum((gradients, sums), axis_name)
        per_user = _after_backward(1.0 / jnp.maximum(sums.users, 1.0), gradients, sums)
        mean_gradients = jax.tree.map(lambda gradient: gradient * per_user, gradients)
        updates, opt_state = phase.optimizer.update(mean_gradients, state.opt_state[phase.name], trained)
        moved = state._replace(
            params={**state.params, **optax.apply_updates(trained, updates)},
            opt_state={**state.opt_state, phase.name: opt_state},
            step=state.step + 1,
        )
        return moved, sums

    return train_step


def _after_backward(value: jax.Array, gradients: Any, sums: StepSums) -> jax.Array:
    """The same value, known to the compiler only when the backward pass has read the parameters for the last time.

    Otherwise XLA, which sees no order between those reads and the update in place, copies the largest parameters in
    every step. The gradients of the biases come last in each layer; a product with zero orders, and costs nothing.
    """
    biases = [jnp.sum(leaf) for leaf in jax.tree.leaves(gradients) if leaf.ndim == 1]
    return value + 0.0 * (sums.loss + sum(biases))


Steps: TypeAlias = jax.Array | PackedBatch
"""What tells C steps from any others: `int32[C, B]`, the users of each batch (-1 pads), where all interactions are on
the device; the batches themselves, stacked, where they are not."""

RunSteps = Callable[[TrainState, DeviceRows | None, Steps, int], tuple[TrainState, StepSums]]


def make_run_steps(
    train_step: TrainStep,
    mesh: Mesh | None = None,
    state_specs: Any = PartitionSpec(),  # noqa: B008 - immutable
) -> RunSteps:
    """Build `run_steps(state, rows, steps, capacity) -> (state, StepSums of [C])`, compiled.

    One call runs C steps in a `lax.scan`, cutting each batch from `rows` on the device, or completing it where `steps`
    holds the batches and `rows` is None. `capacity` is the slots N of a batch or, with a mesh, of each device's share
    of it. The state is donated: the caller's copy is gone. `state_specs` says which of its arrays are split along items
    over the mesh (`layout.item_specs`), none by default.
    """

    def run(
        state: TrainState, rows: DeviceRows | None, steps: Steps, *, capacity: int, axis_name: str | None
    ) -> tuple[TrainState, StepSums]:
        def body(carry: TrainState, step: Any) -> tuple[TrainState, StepSums]:
            return train_step(carry, _cut_batch(rows, step, capacity=capacity), axis_name=axis_name)

        return jax.lax.scan(body, state, steps)

    @partial(jax.jit, static_argnums=3, donate_argnums=0)
    def run_steps(
        state: TrainState, rows: DeviceRows | None, steps: Steps, capacity: int
    ) -> tuple[TrainState, StepSums]:
        if mesh is None:
            return run(state, rows, steps, capacity=capacity, axis_name=None)
        replicated, batches = PartitionSpec(), PartitionSpec(None, DATA_AXIS)
        return jax.shard_map(
            partial(run, capacity=capacity, axis_name=DATA_AXIS),
            mesh=mesh,
            in_specs=(state_specs, replicated, batches),
            out_specs=(state_specs, replicated),
            check_vma=False,  # the step sums gradients itself
        )(state, rows, steps)

    return run_steps


def _cut_batch(rows: DeviceRows | None, step: Steps, *, capacity: int) -> SparseBatch:
    if isinstance(step, PackedBatch):
        return unpack_batch(step)
    assert rows is not None, "an order of users needs the rows to cut them from"
    return gather_batch(rows, step, capacity=capacity)
