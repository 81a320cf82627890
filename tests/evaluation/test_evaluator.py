import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from jax.sharding import AxisType
from ranking_oracle import csr_of, random_held_out, take_users, user_values

from piavae_jax.data.prepared import HeldOut
from piavae_jax.errors import UserError
from piavae_jax.evaluation import DATA_AXIS, Evaluator

I = 60
LABELS = ("ndcg@100", "ndcg@7", "recall@5", "recall@20")


def look_up(params, batch):
    """Scores from a table with a row for each evaluated user."""
    return params["table"][batch.users]


def fold_in(params, batch):
    """Scores that depend on what the scorer is shown."""
    rows = jax.ops.segment_sum(params["similarity"][batch.items], batch.rows, num_segments=len(batch.lengths))
    return rows / jnp.maximum(batch.lengths, 1).astype(jnp.float32)[:, None]


def similarity(seed):
    return np.random.default_rng(seed).integers(-8, 8, (I, I)).astype(np.float32)


def table_of(seed, num_users):
    """Coarse scores, so that ties are common."""
    return np.random.default_rng(seed).integers(0, 12, (num_users, I)).astype(np.float32)


def mesh_of(devices):
    return jax.make_mesh((devices,), (DATA_AXIS,), devices=jax.devices()[:devices], axis_types=(AxisType.Auto,))


def evaluator(held_out, **changes):
    return Evaluator(held_out, **{"num_items": I, "metrics": LABELS, "batch_size": 8, **changes})


@pytest.fixture(scope="module")
def held_out():
    return random_held_out(np.random.default_rng(1), 43, I)


def assert_equal_values(first, second, **tolerance):
    assert set(first.values) == set(second.values)
    for label in first.values:
        np.testing.assert_allclose(first[label], second[label], err_msg=label, **{"rtol": 0, "atol": 0, **tolerance})


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_definitions(held_out, seed):
    assert (held_out.target.lengths == 0).any(), "the case must have users without targets"
    table = table_of(seed, 43)
    result = evaluator(held_out).evaluate(look_up, {"table": jnp.asarray(table)})
    for label in LABELS:
        np.testing.assert_allclose(result[label], user_values(table, held_out, label), atol=1e-6, err_msg=label)
    np.testing.assert_array_equal(result.num_input, held_out.input.lengths)
    np.testing.assert_array_equal(result.num_target, held_out.target.lengths)


def test_scorers_see_the_fold_in_rows(held_out):
    matrix = similarity(0)
    sums = np.stack([matrix[held_out.input.row(row)].sum(axis=0) for row in range(43)])
    table = sums.astype(np.float32) / np.maximum(held_out.input.lengths, 1).astype(np.float32)[:, None]
    result = evaluator(held_out).evaluate(fold_in, {"similarity": jnp.asarray(matrix)})
    for label in LABELS:
        np.testing.assert_allclose(result[label], user_values(table, held_out, label), atol=1e-6, err_msg=label)


@pytest.mark.parametrize("batch_size", [1, 5, 500])
def test_batch_size_changes_nothing(held_out, batch_size):
    params = {"similarity": jnp.asarray(similarity(2))}
    expected = evaluator(held_out).evaluate(fold_in, params)
    assert_equal_values(evaluator(held_out, batch_size=batch_size).evaluate(fold_in, params), expected)


@pytest.mark.parametrize(("devices", "batch_size"), [(1, 43), (2, 3), (4, 8), (4, 500)])
def test_devices_change_nothing(held_out, devices, batch_size):
    params = {"similarity": jnp.asarray(similarity(3))}
    expected = evaluator(held_out).evaluate(fold_in, params)
    split = evaluator(held_out, batch_size=batch_size, mesh=mesh_of(devices))
    assert_equal_values(split.evaluate(fold_in, params), expected)


def test_a_long_catalogue_on_several_devices():
    num_items, labels = 900, ("ndcg@10", "recall@5")
    held_out = random_held_out(np.random.default_rng(2), 21, num_items, density=0.05)
    table = np.random.default_rng(3).integers(0, 40, (21, num_items)).astype(np.float32)
    tested = evaluator(held_out, num_items=num_items, metrics=labels, mesh=mesh_of(4))
    result = tested.evaluate(look_up, {"table": jnp.asarray(table)})
    for label in labels:
        np.testing.assert_allclose(result[label], user_values(table, held_out, label), atol=1e-6, err_msg=label)


def test_more_devices_than_users():
    held_out = HeldOut(np.array([5], np.int32), csr_of([[1] + [0] * (I - 1)]), csr_of([[0, 1] + [0] * (I - 2)]))
    result = evaluator(held_out, mesh=mesh_of(4)).evaluate(look_up, {"table": -jnp.arange(I, dtype=jnp.float32)[None]})
    assert {label: column.tolist() for label, column in result.values.items()} == {label: [1.0] for label in LABELS}


def test_order_of_users_changes_nothing(held_out):
    params = {"similarity": jnp.asarray(similarity(4))}
    order = np.random.default_rng(0).permutation(43)
    result = evaluator(held_out).evaluate(fold_in, params)
    shuffled = evaluator(take_users(held_out, order)).evaluate(fold_in, params)
    np.testing.assert_array_equal(shuffled.users, result.users.to_numpy()[order])
    for label in LABELS:
        np.testing.assert_array_equal(shuffled[label], result[label][order])
        assert shuffled.summary(label).mean == pytest.approx(result.summary(label).mean, abs=1e-12)


def test_perfect_scores_give_one(held_out):
    table = np.zeros((43, I), np.float32)
    for row in range(43):
        table[row, held_out.target.row(row)] = 1.0
    result = evaluator(held_out).evaluate(look_up, {"table": jnp.asarray(table)})
    with_target = held_out.target.lengths > 0
    for label in LABELS:
        np.testing.assert_allclose(result[label][with_target], 1.0, rtol=1e-6)
        assert np.isnan(result[label][~with_target]).all()


def test_new_parameters_reuse_the_compiled_evaluation(held_out):
    traces = []

    def counted(params, batch):
        traces.append(batch)
        return look_up(params, batch)

    tested = evaluator(held_out)
    first = tested.evaluate(counted, {"table": jnp.asarray(table_of(5, 43))})
    compiled = len(traces)
    second = tested.evaluate(counted, {"table": jnp.asarray(table_of(6, 43))})
    assert len(traces) == compiled
    assert first.summary("ndcg@100").mean != second.summary("ndcg@100").mean


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf])
@pytest.mark.parametrize("devices", [1, 4])
def test_a_score_that_is_no_number_is_never_ranked(held_out, bad, devices):
    table = table_of(7, 43)
    table[[17, 40], 3] = bad
    with pytest.raises(FloatingPointError, match="for 2 of 43 users, the first being user 117"):
        evaluator(held_out, mesh=mesh_of(devices)).evaluate(look_up, {"table": jnp.asarray(table)})


def test_rows_that_pad_a_batch_may_score_anything(held_out):
    def nan_on_padding(params, batch):
        return jnp.where(batch.row_mask[:, None], look_up(params, batch), jnp.nan)

    params = {"table": jnp.asarray(table_of(8, 43))}
    assert_equal_values(
        evaluator(held_out).evaluate(nan_on_padding, params), evaluator(held_out).evaluate(look_up, params)
    )


def test_a_scorer_may_rule_items_out(held_out):
    table = table_of(9, 43)
    table[:, ::2] = -np.inf
    result = evaluator(held_out).evaluate(look_up, {"table": jnp.asarray(table)})
    for label in LABELS:
        np.testing.assert_allclose(result[label], user_values(table, held_out, label), atol=1e-6, err_msg=label)


def test_works_while_nans_are_debugged(held_out):
    with jax.debug_nans(True):
        result = evaluator(held_out).evaluate(look_up, {"table": jnp.asarray(table_of(10, 43))})
    assert result.summary("ndcg@7").users_without_targets == np.count_nonzero(held_out.target.lengths == 0)


def test_users_carry_external_ids(held_out):
    params = {"table": jnp.asarray(table_of(11, 43))}
    assert evaluator(held_out).evaluate(look_up, params).users.to_list() == list(range(100, 143))
    names = pl.Series([f"user-{index}" for index in range(43)])
    assert evaluator(held_out, user_ids=names).evaluate(look_up, params).users.equals(names)
    table = table_of(11, 43)
    table[2] = np.nan
    with pytest.raises(FloatingPointError, match="user-2"):
        evaluator(held_out, user_ids=names).evaluate(look_up, {"table": jnp.asarray(table)})


def test_scores_of_another_catalogue_are_refused(held_out):
    with pytest.raises(ValueError, match=r"\[B, I\] = \(8, 61\)"):
        evaluator(held_out, num_items=I + 1).evaluate(look_up, {"table": jnp.asarray(table_of(0, 43))})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_items": 5}, "num_items 5"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"metrics": ["mrr@5"]}, "mrr@5"),
        ({"user_ids": pl.Series([1, 2])}, "got 2 for 43 users"),
    ],
)
def test_bad_arguments_are_named(held_out, changes, message):
    with pytest.raises(UserError, match=message):
        evaluator(held_out, **changes)


def test_mesh_needs_the_data_axis(held_out):
    mesh = jax.make_mesh((2,), ("model",), devices=jax.devices()[:2], axis_types=(AxisType.Auto,))
    with pytest.raises(UserError, match='axis "data"'):
        evaluator(held_out, mesh=mesh)


@pytest.mark.parametrize("part", ["input", "target"])
def test_a_split_needs_both_parts(held_out, part):
    empty = {part: csr_of(np.zeros((43, I)))}
    with pytest.raises(UserError, match="fold-in and held-out interactions"):
        evaluator(dataclasses.replace(held_out, **empty))


class WeightedTables:
    """Mixes two tables, with a weight for each."""

    def parts(self, params, batch):
        return look_up({"table": params["first"]}, batch), look_up({"table": params["second"]}, batch)

    def mix(self, parts, mixture):
        return mixture["weights"][0] * parts[0] + mixture["weights"][1] * parts[1]


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("count", [1, 3, 18])
def test_each_mixture_is_what_it_would_be_alone(held_out, count, devices):
    first, second = table_of(0, 43), table_of(1, 43)
    mixtures = {"weights": np.random.default_rng(2).integers(-3, 4, (count, 2)).astype(np.float32)}
    chosen = evaluator(held_out, mesh=mesh_of(devices))
    params = {"first": jnp.asarray(first), "second": jnp.asarray(second)}
    results = chosen.evaluate_mixtures(WeightedTables(), params, mixtures)
    assert len(results) == count
    for (one, other), result in zip(mixtures["weights"], results, strict=True):
        alone = {"table": jnp.asarray(one * first + other * second)}
        assert_equal_values(result, chosen.evaluate(look_up, alone))


def test_a_mixture_that_is_not_finite_is_refused(held_out):
    params = {name: jnp.asarray(table_of(0, 43)) for name in ("first", "second")}
    mixtures = {"weights": np.array([[1, 1], [np.nan, 1]], np.float32)}
    with pytest.raises(FloatingPointError, match=r"NaN or \+inf for 43 of 43 users"):
        evaluator(held_out).evaluate_mixtures(WeightedTables(), params, mixtures)
