import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piavae_jax import UserError
from piavae_jax.schedules import AdaptiveWeightState, adaptive_weight, carry_schedule, cyclical, linear_to_cap


def algorithm_1(metrics, value, scale, patience, max_value=math.inf):
    """Algorithm 1 of the paper in plain Python, with the counter that its text describes."""
    best, stalled, values = -math.inf, 0, []
    for metric in metrics:
        if metric > best:
            best, stalled = metric, 0
        else:
            stalled += 1
        if stalled == patience:
            value, stalled = min(value * scale, max_value), 0
        values.append(value)
    return values


def weights(schedule, metrics):
    state, values = schedule.init(), []
    for metric in metrics:
        state = schedule.update(state, metric=metric)
        values.append(float(schedule(state)))
    return values


def test_hand_made_run():
    # Best at 2; three stalls double the weight; the counter restarts; a new best at 5 restarts it again.
    schedule = adaptive_weight(2.0, scale=2.0, patience=3)
    metrics = [0.1, 0.2, 0.2, 0.1, 0.15, 0.1, 0.3, 0.1, 0.1, 0.1]
    assert weights(schedule, metrics) == [2, 2, 2, 2, 4, 4, 4, 4, 4, 8]


@given(
    metrics=st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), max_size=30),
    scale=st.sampled_from([1.0, 1.5, 2.0]),
    patience=st.integers(1, 6),
)
def test_follows_algorithm_1(metrics, scale, patience):
    schedule = adaptive_weight(1.0, scale=scale, patience=patience, max_value=10.0)
    np.testing.assert_allclose(
        weights(schedule, metrics), algorithm_1(metrics, 1.0, scale, patience, max_value=10.0), rtol=1e-6
    )


def test_is_an_optax_stateful_schedule_and_runs_under_jit_and_scan():
    schedule = adaptive_weight(1.0, scale=2.0, patience=2)
    assert isinstance(schedule, optax.schedules.StatefulSchedule)
    metrics = jnp.array([0.3, 0.2, 0.2, 0.2, 0.2])

    def body(state, metric):
        state = schedule.update(state, metric=metric)
        return state, schedule(state)

    _, values = jax.jit(lambda metrics: jax.lax.scan(body, schedule.init(), metrics))(metrics)
    np.testing.assert_array_equal(values, weights(schedule, metrics.tolist()))


def test_state_is_arrays_of_fixed_types():
    schedule = adaptive_weight(1.0)
    types = [leaf.dtype for leaf in schedule.init()]
    assert types == [jnp.float32, jnp.float32, jnp.int32]
    assert [leaf.dtype for leaf in schedule.update(schedule.init(), metric=0.5)] == types


def test_nan_means_that_nothing_was_measured():
    schedule = adaptive_weight(1.0, patience=1)
    state = schedule.update(schedule.init(), metric=0.5)
    assert schedule.update(state, metric=math.nan) == state


def test_carried_in_a_chain_it_passes_gradients_and_keeps_its_state():
    schedule = adaptive_weight(1.0, scale=3.0, patience=1)
    optimizer = optax.chain(carry_schedule(schedule), optax.sgd(0.1))
    params = {"w": jnp.ones(2)}
    state = optimizer.init(params)
    gradients = {"w": jnp.array([1.0, -1.0])}
    updates, state = optimizer.update(gradients, state, params)
    np.testing.assert_allclose(updates["w"], [-0.1, 0.1], rtol=1e-6)
    assert schedule(state[0]) == 1.0  # no metric, no change
    for metric in (0.5, 0.4):
        _, state = jax.jit(optimizer.update)(gradients, state, params, metric=metric)
    assert isinstance(state[0], AdaptiveWeightState)
    assert schedule(state[0]) == 3.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"init_value": -1.0}, "init_value must be a finite number >= 0, got -1.0"),
        ({"init_value": math.nan}, "init_value must be a finite number >= 0, got nan"),
        ({"init_value": 1.0, "scale": 0.5}, "scale must be a finite number >= 1, got 0.5"),
        ({"init_value": 1.0, "patience": 0}, "patience must be at least 1 validation, got 0"),
        ({"init_value": 4.0, "max_value": 2.0}, r"max_value must be at least init_value \(4.0\), got 2.0"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        adaptive_weight(**arguments)


def test_annealing_climbs_to_its_cap():
    # Liang et al.: 200,000 updates to 1, cap 0.2 at update 40,000.
    schedule = linear_to_cap(cap=0.2, total_steps=200_000)
    steps = jnp.array([0, 1_000, 40_000, 200_000])
    np.testing.assert_allclose(jax.vmap(schedule)(steps), [0.0, 0.005, 0.2, 0.2], rtol=1e-6)
    assert schedule(jnp.int32(5)).dtype == jnp.float32


@pytest.mark.parametrize("arguments", [{"cap": -0.1, "total_steps": 10}, {"cap": 0.2, "total_steps": 0}])
def test_wrong_annealing_is_refused(arguments):
    with pytest.raises(UserError, match="must be"):
        linear_to_cap(**arguments)


def test_cyclical_annealing_of_a_hand_made_period():
    # Half of eight updates to climb, half at the cap, and again.
    schedule = cyclical(cap=0.2, period=8)
    expected = [0.0, 0.05, 0.1, 0.15, 0.2, 0.2, 0.2, 0.2] * 2
    np.testing.assert_allclose(jax.vmap(schedule)(jnp.arange(16)), expected, rtol=1e-6)
    assert schedule(jnp.int32(5)).dtype == jnp.float32


@settings(deadline=None)
@given(
    cap=st.floats(0.0, 10.0),
    period=st.integers(2, 1000),
    ramp=st.floats(0.01, 1.0),
    count=st.integers(0, 1_000_000),
)
def test_cyclical_annealing_is_interpolation_in_each_period(cap, period, ramp, count):
    expected = np.interp(count % period, [0, ramp * period], [0, cap])
    np.testing.assert_allclose(cyclical(cap=cap, period=period, ramp=ramp)(count), expected, rtol=1e-5, atol=1e-30)


def test_cyclical_annealing_runs_under_jit_and_forgets_no_update_however_late():
    # Above 2^24 float32 has no odd numbers: the remainder is taken of whole ones.
    schedule = cyclical(cap=1.0, period=4, ramp=1.0)
    late = 2**30 + jnp.arange(5, dtype=jnp.int32)
    np.testing.assert_array_equal(jax.jit(jax.vmap(schedule))(late), [0.0, 0.25, 0.5, 0.75, 0.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cap": math.inf, "period": 10}, "the cap of beta must be a finite number >= 0, got inf"),
        ({"cap": 0.2, "period": 1}, "period must be at least 2 updates, got 1"),
        ({"cap": 0.2, "period": 10, "ramp": 0.0}, r"ramp must be in \(0, 1\], got 0.0"),
        ({"cap": 0.2, "period": 10, "ramp": 1.5}, r"ramp must be in \(0, 1\], got 1.5"),
    ],
)
def test_wrong_cycles_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        cyclical(**arguments)
