"""Training with items split over devices equals training on one, and splits what it says it splits."""

import re
from functools import cache

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from tiny_runs import recipe_of, tiny_config

from piavae_jax.data.batches import epoch_order, order_capacity, pad_to_shards, plan_capacity, to_device
from piavae_jax.data.csr import from_pairs
from piavae_jax.evaluation import DATA_AXIS, ITEM_AXIS
from piavae_jax.schedules import linear_to_cap
from piavae_jax.training.layout import init_split, item_specs
from piavae_jax.training.state import init_state, make_weight_schedule, order_key
from piavae_jax.training.step import make_run_steps, make_train_step

I, USERS, B, STEPS = 41, 50, 16, 20  # no number of shards divides the items, nor the batch the users
H, D = 18, 6


def _train_rows():
    generator = np.random.default_rng(0)
    lengths = generator.integers(3, 15, USERS)
    items = [generator.choice(I, length, replace=False) for length in lengths]
    return from_pairs(np.repeat(np.arange(USERS), lengths), np.concatenate(items), num_rows=USERS)


TRAIN = _train_rows()


def config_of(optimizer="sgd", block=0, **pia):
    config = tiny_config()
    config.optimizer.name, config.optimizer.learning_rate = optimizer, 0.05 if optimizer == "sgd" else 1e-3
    config.model.hidden, config.model.latent_dim = (H,), D
    config.training.item_block = block
    for name, value in pia.items():
        setattr(config.pia, name, value)
    return config


def mesh_of(data, items):
    devices = jax.devices()[: data * items]
    return jax.make_mesh((data, items), (DATA_AXIS, ITEM_AXIS), axis_types=(AxisType.Auto,) * 2, devices=devices)


def steps_of(config, item_axis):
    return make_train_step(
        recipe_of(config, I, item_axis).phases[0],
        linear_to_cap(cap=config.kl.cap, total_steps=config.kl.total_steps),
        make_weight_schedule(config),
    )


def specs_of(config):
    return item_specs(lambda count: init_state(recipe_of(config, count), config), I)


def start_of(config, mesh):
    return init_split(lambda: init_state(recipe_of(config, I), config), specs_of(config), mesh)


def order_of(state, shards):
    """The batches of `STEPS` steps, the partial last ones of epochs among them, and the slots of each shard."""
    capacity = plan_capacity(TRAIN.lengths, batch_size=B, shards=shards)
    keys = [order_key(state._replace(epoch=jnp.int32(epoch))) for epoch in range(STEPS // 4)]
    order = np.concatenate([epoch_order(TRAIN.lengths, batch_size=B, capacity=capacity, key=key) for key in keys])
    assert (order < 0).any()
    assert len(order) == STEPS
    slots = order_capacity(TRAIN.lengths, order, capacity=capacity, shards=shards)
    return jnp.asarray(pad_to_shards(order, shards)), slots


def prepared(config, data, items):
    """The compiled steps of a mesh and their arguments."""
    mesh = mesh_of(data, items)
    run_steps = make_run_steps(steps_of(config, ITEM_AXIS), mesh, specs_of(config))
    state = start_of(config, mesh)
    order, slots = order_of(state, data)
    return run_steps, (state, to_device(TRAIN), order, slots)


@cache
def on_one_device(**choices):
    config = config_of(**choices)
    state = init_state(recipe_of(config, I), config)
    order, slots = order_of(state, 1)
    state, sums = make_run_steps(steps_of(config, None))(state, to_device(TRAIN), order, slots)
    return jax.device_get(state.params), jax.device_get(sums)


def cut(array, like):
    """Without padding, which must be zero."""
    array = np.asarray(array)
    kept = array[tuple(slice(size) for size in like.shape)]
    np.testing.assert_allclose(np.abs(array).sum(dtype=np.float64), np.abs(kept).sum(dtype=np.float64), rtol=1e-12)
    return kept


def shapes_in(compiled):
    """Of all arrays in the program of a device."""
    return {tuple(map(int, shape.split(","))) for shape in re.findall(r"\w\d+\[([\d,]+)\]", compiled.as_text())}


CLOSED, PLAIN = {"form": "closed"}, {"enabled": False}


@pytest.mark.parametrize(
    ("mesh", "choices", "block"),
    [((1, 2), PLAIN, 4), ((2, 2), CLOSED, 0), ((1, 4), CLOSED, 0), ((4, 1), CLOSED, 0)],
    ids=str,
)
def test_shards_change_nothing_and_no_device_holds_a_whole_table_or_all_logits(mesh, choices, block):
    """20 updates by SGD, which hides no wrong scale of a gradient as Adam does."""
    expected, expected_sums = on_one_device(**choices)
    run_steps, arguments = prepared(config_of(**choices, block=block), *mesh)
    steps = run_steps.lower(*arguments).compile()
    state, sums = steps(*arguments[:-1])
    chex.assert_trees_all_close(jax.tree.map(cut, state.params, expected), expected, atol=1e-5, rtol=1e-5)
    chex.assert_trees_all_close(sums, expected_sums, rtol=1e-5)

    shapes, users, own = shapes_in(steps), B // mesh[0], -(-I // mesh[1])
    assert (own, H) in shapes
    assert ((users, own) in shapes) == (block == 0)
    assert ((users, block) in shapes) == (block > 0)
    if mesh[1] > 1:
        assert not {shape for shape in shapes if {I, own * mesh[1]} & set(shape)}


def test_shards_start_from_the_same_numbers():
    config = config_of("adam")
    whole = init_state(recipe_of(config, I), config)
    split = start_of(config, mesh_of(1, 4))
    chex.assert_trees_all_close(jax.tree.map(cut, split.params, whole.params), whole.params, rtol=1e-6)


def test_tables_and_their_moments_are_split_and_the_rest_is_on_every_device():
    run_steps, (state, rows, order, slots) = prepared(config_of("adam"), 1, 4)
    state, _ = run_steps(state, rows, order[:1], slots)
    own_shapes = {
        "['encoder']['InputLayer_0']['kernel']": (11, H),
        "['decoder']['Linear_1']['kernel']": (H, 11),
        "['decoder']['Linear_1']['bias']": (11,),
        "['anchors']": (11, D),
    }
    assert state.params["encoder"]["Linear_0"]["kernel"].shape == (H, 2 * D)
    for tree in (state.params, state.opt_state["joint"][0].mu, state.opt_state["joint"][0].nu):
        for path, leaf in jax.tree.leaves_with_path(tree):
            shapes = {shard.data.shape for shard in leaf.addressable_shards}
            assert shapes == {own_shapes.get(jax.tree_util.keystr(path), leaf.shape)}


def test_the_start_is_computed_in_shards():
    config, mesh = config_of("adam"), mesh_of(1, 4)
    shapes = shapes_in(jax.jit(lambda: start_of(config, mesh)).lower().compile())
    assert not {shape for shape in shapes if {I, 44} & set(shape)}
    assert (11, H) in shapes
