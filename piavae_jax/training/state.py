"""Everything that training changes, as one NamedTuple of arrays."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from piavae_jax.config import ExperimentConfig
from piavae_jax.models import Model, init_anchors
from piavae_jax.schedules import AdaptiveWeight, AdaptiveWeightState, adaptive_weight

_INIT, _ANCHORS, _RUN = range(3)


class TrainState(NamedTuple):
    """The state of a run; with the config and the data it determines all that follows, to the bit."""

    params: dict
    """`encoder`, `decoder` and, with PIA, `anchors: float32[I, D]`."""
    opt_state: optax.OptState
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


def make_optimizer(config: ExperimentConfig) -> optax.GradientTransformation:
    """The Optax transformation that the config names."""
    return {"adam": optax.adam, "sgd": optax.sgd}[config.optimizer.name](config.optimizer.learning_rate)


def make_weight_schedule(config: ExperimentConfig) -> AdaptiveWeight:
    """The adaptive lambda_A that the config names; constant zero where PIA is off."""
    pia = config.pia
    if not pia.enabled:
        return adaptive_weight(0.0, scale=1.0)
    return adaptive_weight(pia.weight, scale=pia.scale, patience=pia.patience, max_value=pia.max_weight)


def init_state(model: Model, config: ExperimentConfig) -> TrainState:
    """The state before the first update, a function of the config's seed."""

    # One program: operation by operation, some forty are compiled, and the model's first pass is run.
    @jax.jit
    def init(key: jax.Array) -> TrainState:
        params = model.init(jax.random.fold_in(key, _INIT))
        if config.pia.enabled:
            params["anchors"] = init_anchors(
                model.num_items, model.latent_dim, std=config.pia.anchor_std, key=jax.random.fold_in(key, _ANCHORS)
            )
        return TrainState(
            params=params,
            opt_state=make_optimizer(config).init(params),
            step=jnp.int32(0),
            epoch=jnp.int32(0),
            anchor_weight=make_weight_schedule(config).init(),
            best_metric=jnp.float32(-jnp.inf),
            best_epoch=jnp.int32(0),
            key=jax.random.fold_in(key, _RUN),
        )

    return init(jax.random.key(config.seed))


def step_key(state: TrainState) -> jax.Array:
    """The key of the state's next update."""
    return jax.random.fold_in(jax.random.fold_in(state.key, 0), state.step)


def order_key(state: TrainState) -> jax.Array:
    """The key that shuffles the state's next epoch."""
    return jax.random.fold_in(jax.random.fold_in(state.key, 1), state.epoch)


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
