"""Everything that training changes, as one NamedTuple of arrays."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from piavae_jax.config import ExperimentConfig
from piavae_jax.schedules import AdaptiveWeight, AdaptiveWeightState, adaptive_weight
from piavae_jax.training.recipe import Recipe

_RUN = 2
"""Folded into the seed's key for the draws of steps and epochs; 0 and 1 draw the parameters."""


class TrainState(NamedTuple):
    """The state of a run; with the config and the data it determines all that follows, to the bit."""

    params: dict
    """`encoder`, `decoder` and, with PIA, `anchors: float32[I, D]`; what else the model's recipe needs."""
    opt_state: dict[str, optax.OptState]
    """By phase of the recipe."""
    step: jax.Array
    """int32[], updates so far; drives KL annealing and addresses the step's random draws."""
    epoch: jax.Array
    """int32[], epochs completed."""
    anchor_weight: AdaptiveWeightState
    """lambda_A."""
    best_metric: jax.Array
    """float32[], best validation nDCG@100; -inf before the first."""
    best_epoch: jax.Array
    """int32[], the epoch that reached it; 0 before the first."""
    key: jax.Array
    """The run's PRNG key. It never changes: draws fold in the step or the epoch."""


def make_weight_schedule(config: ExperimentConfig) -> AdaptiveWeight:
    """The adaptive lambda_A that the config names; constant zero where PIA is off."""
    pia = config.pia
    if not pia.enabled:
        return adaptive_weight(0.0, scale=1.0)
    return adaptive_weight(pia.weight, scale=pia.scale, patience=pia.patience, max_value=pia.max_weight)


def init_state(recipe: Recipe, config: ExperimentConfig) -> TrainState:
    """The state before the first update, a function of the config's seed."""
    return _make_init(recipe)(jax.random.key(config.seed), make_weight_schedule(config).init())


@functools.lru_cache(maxsize=8)
def _make_init(recipe: Recipe) -> Callable[[jax.Array, AdaptiveWeightState], TrainState]:
    # One program: operation by operation, some forty are compiled, and the model's first pass is run.
    @jax.jit
    def init(key: jax.Array, anchor_weight: AdaptiveWeightState) -> TrainState:
        params = recipe.init(key)
        return TrainState(
            params=params,
            opt_state={
                phase.name: phase.optimizer.init({entry: params[entry] for entry in phase.trained})
                for phase in recipe.phases
            },
            step=jnp.int32(0),
            epoch=jnp.int32(0),
            anchor_weight=anchor_weight,
            best_metric=jnp.float32(-jnp.inf),
            best_epoch=jnp.int32(0),
            key=jax.random.fold_in(key, _RUN),
        )

    return init


def step_key(state: TrainState) -> jax.Array:
    """The key of the state's next update."""
    return jax.random.fold_in(jax.random.fold_in(state.key, 0), state.step)


def order_key(state: TrainState, number: int = 0) -> jax.Array:
    """The key that shuffles a pass, numbered from 0, of the state's next epoch."""
    key = jax.random.fold_in(jax.random.fold_in(state.key, 1), state.epoch)
    return jax.random.fold_in(key, number) if number else key


def record_validation(state: TrainState, schedule: AdaptiveWeight, metric: float) -> tuple[TrainState, bool]:
    """Close an epoch with its validation nDCG@100: adapt lambda_A, track the best; True for a new best."""
    value, epoch = jnp.float32(metric), state.epoch + 1
    improved = value > state.best_metric
    closed = state._replace(
        epoch=epoch,
        anchor_weight=schedule.update(state.anchor_weight, metric=value),
        best_metric=jnp.where(improved, value, state.best_metric),
        best_epoch=jnp.where(improved, epoch, state.best_epoch),
    )
    return closed, bool(improved)
