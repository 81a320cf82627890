"""Weights that change during training: KL annealing and the adaptive lambda_A of Algorithm 1."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from piavae_jax.errors import UserError


def linear_to_cap(*, cap: float, total_steps: int) -> optax.Schedule:
    """KL annealing of Liang et al. (2018): `beta = min(cap, step / total_steps)`.

    Args:
      cap: the largest beta, >= 0.
      total_steps: updates that a climb to beta = 1 would take, >= 1; the cap is reached at `cap * total_steps`.

    Returns:
      A function of the update count, int32[], that gives float32[].

    Raises:
      UserError: an argument is out of range.
    """
    if not (cap >= 0 and math.isfinite(cap)):
        raise UserError(f"the cap of beta must be a finite number >= 0, got {cap}; 0 switches the KL term off")
    if total_steps < 1:
        raise UserError(f"total_steps must be at least 1, got {total_steps}; 1 puts beta at its cap from the start")

    def schedule(count: Any) -> jax.Array:
        return jnp.minimum(jnp.float32(cap), jnp.asarray(count, jnp.float32) / jnp.float32(total_steps))

    return schedule


def cyclical(*, cap: float, period: int, ramp: float = 0.5) -> optax.Schedule:
    """Cyclical KL annealing of Fu et al. (2019, https://arxiv.org/abs/1903.10145).

    In each period beta climbs linearly from 0 to the cap over the first `ramp` share, then stays there.

    Args:
      cap: the largest beta, >= 0.
      period: updates in a cycle, >= 2.
      ramp: share of the period that the climb takes, in (0, 1].

    Returns:
      A function of the update count, int32[], that gives float32[].

    Raises:
      UserError: an argument is out of range.
    """
    if not (cap >= 0 and math.isfinite(cap)):
        raise UserError(f"the cap of beta must be a finite number >= 0, got {cap}; 0 switches the KL term off")
    if period < 2:
        raise UserError(f"period must be at least 2 updates, got {period}; in one of 1 beta would never leave 0")
    if not 0 < ramp <= 1:
        raise UserError(f"ramp must be in (0, 1], got {ramp}; 0.5 climbs for half of each period")

    def schedule(count: Any) -> jax.Array:
        since_start = jnp.asarray(count, jnp.int32) % period
        return jnp.float32(cap) * jnp.minimum(since_start.astype(jnp.float32) / jnp.float32(ramp * period), 1.0)

    return schedule


class AdaptiveWeightState(NamedTuple):
    """State of `adaptive_weight`."""

    value: jax.Array
    """float32[], the weight in force."""
    best: jax.Array
    """float32[], the best validation metric so far; -inf before the first."""
    count: jax.Array  # type: ignore[assignment]  # hides tuple.count, as in Optax's own states
    """int32[], validations since the best one or since the last increase."""


class AdaptiveWeight(NamedTuple):
    """An `optax.schedules.StatefulSchedule` that raises a weight when validation stalls; see `adaptive_weight`."""

    init_value: float
    scale: float
    patience: int
    max_value: float

    def init(self) -> AdaptiveWeightState:
        """The state before the first validation."""
        return AdaptiveWeightState(jnp.float32(self.init_value), jnp.float32(-jnp.inf), jnp.int32(0))

    def update(self, state: AdaptiveWeightState, *, metric: float | jax.Array, **_: Any) -> AdaptiveWeightState:
        """Take one validation metric into account, higher being better; NaN means that none was measured."""
        metric = jnp.asarray(metric, jnp.float32)
        improved = metric > state.best
        count = jnp.where(improved, 0, state.count + 1)
        stalled = count >= self.patience
        raised = jnp.minimum(state.value * jnp.float32(self.scale), jnp.float32(self.max_value))
        updated = AdaptiveWeightState(
            value=jnp.where(stalled, raised, state.value),
            best=jnp.where(improved, metric, state.best),
            count=jnp.where(stalled, 0, count),
        )
        return jax.tree.map(lambda new, old: jnp.where(jnp.isnan(metric), old, new), updated, state)

    def __call__(self, state: AdaptiveWeightState, **_: Any) -> jax.Array:
        """The weight in force, float32[]."""
        return state.value


def adaptive_weight(
    init_value: float, *, scale: float = 2.0, patience: int = 5, max_value: float = math.inf
) -> AdaptiveWeight:
    """The adaptive lambda_A of the paper's Algorithm 1, as an `optax.schedules.StatefulSchedule`.

    Each validation metric (nDCG@100) goes to `update`. A new best resets the counter; `patience` validations in a row
    without one multiply the weight by `scale` and reset the counter too. (Line 16 of the algorithm as printed is always
    true; this is what the text around it says.)

    Args:
      init_value: lambda_A at the start, >= 0.
      scale: factor of an increase, >= 1; 1 keeps the weight constant.
      patience: validations without a new best before an increase, >= 1; the paper's rho in the algorithm.
      max_value: bound of the weight, >= init_value.

    Returns:
      A schedule with `init()`, `update(state, metric=...)` and `__call__(state)`, pure and jittable.

    Raises:
      UserError: an argument is out of range.
    """
    if not (init_value >= 0 and math.isfinite(init_value)):
        raise UserError(f"init_value must be a finite number >= 0, got {init_value}; 0 switches the anchor term off")
    if not (scale >= 1 and math.isfinite(scale)):
        raise UserError(f"scale must be a finite number >= 1, got {scale}; 1 keeps the weight constant")
    if patience < 1:
        raise UserError(f"patience must be at least 1 validation, got {patience}; the paper uses 5")
    if not max_value >= init_value:
        raise UserError(
            f"max_value must be at least init_value ({init_value}), got {max_value}; raise it or leave it out"
        )
    return AdaptiveWeight(float(init_value), float(scale), int(patience), float(max_value))


def carry_schedule(schedule: optax.schedules.StatefulSchedule) -> optax.GradientTransformationExtraArgs:
    """Carry a stateful schedule inside an Optax chain: gradients pass through, the state rides along.

    For those who want one optimiser state to hold everything:
    `optax.chain(carry_schedule(adaptive_weight(2.0)), optax.adam(1e-3))`, then
    `tx.update(grads, state, params, metric=ndcg)` after a validation and without `metric` (or with NaN) at other steps.
    The weight in force is `schedule(state[0])`.
    """

    def init(_: optax.Params) -> Any:
        return schedule.init()

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        *,
        metric: float | jax.Array = math.nan,
        **extra: Any,
    ) -> tuple[optax.Updates, Any]:
        del params
        return updates, schedule.update(state, metric=metric, **extra)

    return optax.GradientTransformationExtraArgs(init, update)
