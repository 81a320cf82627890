from functools import cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from tiny_runs import TRAIN_USERS, recipe_of, tiny_config, tiny_dataset

from piavae_jax import losses, masking, sampling, schedules
from piavae_jax.data.batches import epoch_order, gather_batch, order_capacity, plan_capacity, to_device
from piavae_jax.training.recipes.parts import build_body
from piavae_jax.training.state import init_state, make_weight_schedule, order_key, step_key
from piavae_jax.training.step import inverse_activity, make_run_steps, make_train_step

DATASET = tiny_dataset()
LENGTHS = DATASET.train.lengths
ROWS = to_device(DATASET.train)
STEPS = 20


compiled, compiled_steps = cache(jax.jit), cache(make_run_steps)
"""The same program for the same step."""


def build(optimizer="sgd", user_weight=None, **pia):
    config, recipe, train_step = _machine(optimizer, user_weight, **pia)
    return config, recipe, train_step, init_state(recipe, config)


@cache
def _machine(optimizer, user_weight, **pia):
    config = tiny_config()
    config.optimizer.name = optimizer
    config.optimizer.learning_rate = 0.05 if optimizer == "sgd" else 1e-3
    for name, value in pia.items():
        setattr(config.pia, name, value)
    recipe = recipe_of(config)
    train_step = make_train_step(
        recipe.phases[0],
        schedules.linear_to_cap(cap=config.kl.cap, total_steps=config.kl.total_steps),
        make_weight_schedule(config),
        user_weight,
    )
    return config, recipe, train_step


def orders(state, batch_size, shards=1):
    """The batches of `STEPS` steps, partial last batches of epochs among them, and the capacity for the shards."""
    capacity = plan_capacity(LENGTHS, batch_size=batch_size, shards=shards)
    parts = []
    while sum(map(len, parts)) < STEPS:
        key = order_key(state._replace(epoch=jnp.int32(len(parts))))
        parts.append(epoch_order(LENGTHS, batch_size=batch_size, capacity=capacity, key=key))
    order = np.concatenate(parts)[:STEPS]
    return order, order_capacity(LENGTHS, order, capacity=capacity, shards=shards)


@cache
def train_on_one_device():
    _, _, train_step, state = build()
    order, capacity = orders(state, 16)
    return compiled_steps(train_step)(state, ROWS, jnp.asarray(order), capacity)


def single_step():
    _, _, train_step, state = build()
    batch = gather_batch(ROWS, jnp.arange(16, dtype=jnp.int32), capacity=256)
    return compiled(train_step), state, batch


@pytest.mark.parametrize("devices", [2, 4])
def test_devices_change_nothing(devices):
    assert TRAIN_USERS % 16 != 0  # the last batch of an epoch is partial
    expected, expected_sums = train_on_one_device()
    _, _, train_step, state = build()
    order, capacity = orders(state, 16, shards=devices)
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    actual, sums = make_run_steps(train_step, mesh)(state, ROWS, jnp.asarray(order), capacity)
    chex.assert_trees_all_close(actual.params, expected.params, atol=1e-5, rtol=1e-5)
    chex.assert_trees_all_close(sums, expected_sums, rtol=1e-5)


def test_pmap_runs_the_same_step():
    expected, _ = train_on_one_device()
    _, _, train_step, state = build()
    order, capacity = orders(state, 16)
    devices = 4
    step = jax.pmap(partial(train_step, axis_name="data"), axis_name="data", in_axes=(None, 0), out_axes=None)
    gather = jax.vmap(partial(gather_batch, ROWS, capacity=capacity))
    for users in order:
        state, _ = step(state, gather(jnp.asarray(users).reshape(devices, -1)))
    chex.assert_trees_all_close(state.params, expected.params, atol=1e-5, rtol=1e-5)


def test_padding_changes_nothing():
    train_step, state, batch = single_step()
    exact = gather_batch(ROWS, jnp.arange(16, dtype=jnp.int32), capacity=int(LENGTHS[:16].sum()))
    padded = gather_batch(ROWS, jnp.pad(jnp.arange(16, dtype=jnp.int32), (0, 5), constant_values=-1), capacity=300)
    expected, sums = train_step(state, exact)
    for other in (batch, padded):
        actual, other_sums = train_step(state, other)
        chex.assert_trees_all_close(actual.params, expected.params, atol=1e-6)
        chex.assert_trees_all_close(other_sums, sums, rtol=1e-5)


def test_weights_of_users_fall_with_their_activity():
    lengths = np.array([0, 1, 4, 100])
    weights = inverse_activity(lengths, 0.5)(jnp.asarray(lengths, jnp.int32))
    np.testing.assert_allclose(weights, np.array([1, 1, 0.5, 0.1]) / 0.65, rtol=1e-6)
    np.testing.assert_array_equal(inverse_activity(lengths, 0.0)(jnp.asarray(lengths, jnp.int32)), 1.0)
    whole = inverse_activity(lengths, 1)(jnp.asarray(lengths, jnp.int32))
    np.testing.assert_allclose(whole, np.array([1, 1, 0.25, 0.01]) / 0.565, rtol=1e-6)


@pytest.mark.parametrize("exponent", [None, 0.5])
def test_a_step_is_sgd_on_the_mean_objective(exponent):
    config, _, train_step, state = build(user_weight=exponent and inverse_activity(LENGTHS, exponent))
    weights = 1.0 if exponent is None else LENGTHS[:16] ** -exponent / np.mean(LENGTHS**-exponent)
    model = build_body(config, DATASET.num_items)
    batch = gather_batch(ROWS, jnp.arange(16, dtype=jnp.int32), capacity=256)
    dense = np.zeros((16, DATASET.num_items), np.float32)
    for user in range(16):
        dense[user, DATASET.train.row(user)] = 1
    mask_key, noise_key = jax.random.split(step_key(state))

    def mean_loss(params):
        rows = jnp.asarray(dense)
        posterior = model.encode(params, masking.bernoulli(rows, keep_prob=config.mask.keep_prob, key=mask_key))
        logits = model.decode(params, sampling.reparameterize(posterior, key=noise_key))
        loss, _ = losses.pia_elbo(posterior, logits, rows, beta=0.0, anchors=params["anchors"], anchor_weight=2.0)
        return jnp.mean(weights * loss)

    loss, gradients = jax.jit(jax.value_and_grad(mean_loss))(state.params)
    expected = jax.tree.map(lambda p, g: p - 0.05 * g, state.params, gradients)
    actual, sums = compiled(train_step)(state, batch)
    chex.assert_trees_all_close(actual.params, expected, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(sums.loss / sums.users, loss, rtol=1e-5)
    np.testing.assert_allclose(sums.loss, sums.terms.nll + 2.0 * sums.terms.anchor, rtol=1e-5)
    assert int(actual.step) == 1


def test_masks_change_with_the_step_and_repeat_with_the_key():
    train_step, state, batch = single_step()
    first, again = train_step(state, batch)[1].loss, train_step(state, batch)[1].loss
    later = train_step(state._replace(step=state.step + 1), batch)[1].loss
    assert first == again
    assert first != later


def test_chunks_of_steps_are_the_same_steps():
    _, _, train_step, state = build()
    run_steps = compiled_steps(train_step)
    order, capacity = orders(state, 16)
    whole, _ = run_steps(init_state(build()[1], build()[0]), ROWS, jnp.asarray(order), capacity)
    for part in np.split(order, 4):
        state, _ = run_steps(state, ROWS, jnp.asarray(part), capacity)
    chex.assert_trees_all_equal(state.params, whole.params)


def test_state_is_arrays_so_nothing_compiles_twice():
    _, _, train_step, state = build("adam")
    run_steps = make_run_steps(train_step)
    order, capacity = orders(state, 16)
    order = jnp.asarray(order[:4])
    for _ in range(3):
        state, _ = run_steps(state, ROWS, order, capacity)
    assert run_steps._cache_size() == 1
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("form", ["closed", "sampled"])
def test_training_lowers_the_loss(form):
    _, _, train_step, state = build("adam", form=form)
    order, capacity = orders(state, 50)
    sums = make_run_steps(train_step)(state, ROWS, jnp.asarray(np.tile(order[:1], (150, 1))), capacity)[1]
    means = np.asarray(sums.loss / sums.users)
    assert means[-10:].mean() < 0.9 * means[:10].mean()
    assert sums.users[0] == TRAIN_USERS


def test_without_pia_there_are_no_anchors():
    _, _, train_step, state = build(enabled=False)
    assert set(state.params) == {"encoder", "decoder"}
    _, sums = jax.jit(train_step)(state, gather_batch(ROWS, jnp.arange(16, dtype=jnp.int32), capacity=256))
    assert sums.terms._fields == ("nll", "kl")


def test_no_transfer_and_no_callback_inside_the_steps():
    _, _, train_step, state = build()
    order, capacity = orders(state, 16)
    text = compiled_steps(train_step).lower(state, ROWS, jnp.asarray(order), capacity).compile().as_text()
    assert "callback" not in text
    assert "infeed" not in text
    assert "outfeed" not in text


def test_the_input_of_the_encoder_is_never_dense():
    """Of arrays B x I a step holds the logits and their gradient, not rows of users."""
    config, _, _, state = build()
    model = build_body(config, DATASET.num_items)
    batch = gather_batch(ROWS, jnp.arange(16, dtype=jnp.int32), capacity=256)
    encode = jax.jit(lambda params, batch: model.encode(params, masking.encoder_input(batch)))
    assert f"16x{DATASET.num_items}x" not in encode.lower(state.params, batch).as_text()
