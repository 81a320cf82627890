"""Rankings of scores that are split along items equal those of whole scores, ties, padding and all."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from ranking_oracle import random_held_out, user_values

from piavae_jax.data.batches import gather_batch, to_device
from piavae_jax.evaluation import DATA_AXIS, ITEM_AXIS, Evaluator, exclude_seen, top_k
from piavae_jax.evaluation.sharded_ranking import exclude_seen_or_padding, top_k_over_shards

I, USERS = 61, 43  # neither two nor four devices divide the items
LABELS = ("ndcg@100", "ndcg@7", "recall@5", "recall@20")
HELD_OUT = random_held_out(np.random.default_rng(1), USERS, I)
COLUMNS = PartitionSpec(None, ITEM_AXIS)


def mesh_of(data, items):
    devices = jax.devices()[: data * items]
    return jax.make_mesh((data, items), (DATA_AXIS, ITEM_AXIS), devices=devices, axis_types=(AxisType.Auto,) * 2)


def coarse_scores(seed):
    """Many ties, within shards and across them, and items that are ruled out."""
    scores = np.random.default_rng(seed).integers(-1, 5, (USERS, I)).astype(np.float32)
    return np.where(scores < 0, -np.inf, scores)


def split(table, mesh, padding=99.0):
    """Columns over the devices; what pads them would win every ranking."""
    widths = ((0, 0), (0, -I % mesh.shape[ITEM_AXIS]))
    return jax.device_put(np.pad(table, widths, constant_values=padding), NamedSharding(mesh, COLUMNS))


def look_up(params, batch):
    return params["table"][batch.users] + params["shift"]


def evaluate(table, mesh, place):
    evaluator = Evaluator(HELD_OUT, num_items=I, metrics=LABELS, batch_size=8, mesh=mesh)
    return evaluator.evaluate(look_up, {"table": place(table), "shift": jnp.float32(1.0)})


def ranking_program(mesh, k):
    def rank(scores, batch):
        eligible = exclude_seen_or_padding(scores, batch, num_items=I, item_axis=ITEM_AXIS)
        return top_k_over_shards(eligible, k, num_items=I, item_axis=ITEM_AXIS)

    whole = PartitionSpec()
    return jax.jit(jax.shard_map(rank, mesh=mesh, in_specs=(COLUMNS, whole), out_specs=whole, check_vma=False))


@pytest.mark.parametrize("k", [1, 7, 20, 61, 100])  # 20 is more than a shard of 16 items has
def test_lists_are_those_of_whole_scores(k):
    mesh, scores = mesh_of(1, 4), coarse_scores(0)
    batch = gather_batch(to_device(HELD_OUT.input), jnp.arange(USERS, dtype=jnp.int32), capacity=HELD_OUT.input.nnz + 9)
    expected = top_k(exclude_seen(jnp.asarray(scores), batch), k)
    program = ranking_program(mesh, k)
    ranked = program(split(scores, mesh), batch)
    np.testing.assert_array_equal(ranked.items, expected.items)
    np.testing.assert_array_equal(ranked.scores, expected.scores)
    text = program.lower(split(scores, mesh), batch).compile().as_text()
    assert f"f32[{USERS},16]" in text
    assert not re.search(rf"\[{USERS},6[14]\]", text) or k > 15  # candidates may be as many as items then


@pytest.mark.parametrize("mesh", [(1, 2), (2, 2), (1, 4)], ids=str)
def test_metrics_are_the_definitions(mesh):
    mesh, table = mesh_of(*mesh), coarse_scores(1)
    result = evaluate(table, mesh, lambda table: split(table, mesh))
    for label in LABELS:
        np.testing.assert_allclose(result[label], user_values(table, HELD_OUT, label), atol=1e-6, err_msg=label)


def test_whole_parameters_are_evaluated_on_such_a_mesh_too():
    table = coarse_scores(2)
    result = evaluate(table, mesh_of(2, 2), jnp.asarray)
    for label in LABELS:
        np.testing.assert_allclose(result[label], user_values(table, HELD_OUT, label), atol=1e-6, err_msg=label)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("item", [0, I - 1])
def test_a_score_that_is_no_number_in_any_shard_is_never_ranked(bad, item):
    mesh, table = mesh_of(1, 4), coarse_scores(3)
    table[[17, 40], item] = bad
    with pytest.raises(FloatingPointError, match="for 2 of 43 users, the first being user 117"):
        evaluate(table, mesh, lambda table: split(table, mesh))


def test_shards_of_another_catalogue_are_refused():
    mesh = mesh_of(1, 4)
    evaluator = Evaluator(HELD_OUT, num_items=I + 4, metrics=LABELS, batch_size=8, mesh=mesh)
    params = {"table": split(coarse_scores(0), mesh), "shift": jnp.float32(0.0)}
    with pytest.raises(ValueError, match=r"= \(8, 17\), got \(8, 16\)"):
        evaluator.evaluate(look_up, params)
