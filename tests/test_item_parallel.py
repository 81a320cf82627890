"""Losses of arrays that are split along items, inside `shard_map`, against the whole ones: values and gradients."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batch_factory import dense_rows, sparse_batch
from jax.sharding import AxisType, PartitionSpec

from piavae_jax import item_parallel, losses, sparse
from piavae_jax.errors import UserError
from piavae_jax.types import Posterior, SparseInput

S, L = 4, 3
I, D = 9, 5  # the last shard is nothing but padding
LENGTHS = [0, 1, 4, 9]  # an empty row, one item, all items
B = len(LENGTHS)
BATCH = sparse_batch(dense_rows(LENGTHS, I), padding=5)
MESH = jax.make_mesh((S,), ("items",), axis_types=(AxisType.Auto,), devices=jax.devices()[:S])
WEIGHTS = jnp.arange(1.0, B + 1)
ALL, ROWS, COLUMNS = PartitionSpec(), PartitionSpec("items"), PartitionSpec(None, "items")


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def padded(table, axis, value=0.0):
    widths = [(0, S * L - I if dim == axis else 0) for dim in range(table.ndim)]
    return jnp.pad(table, widths, constant_values=value)


def split_gradients(function, specs):
    """`jax.value_and_grad` on every device, of arguments that are split as the specs say."""
    gradient = jax.value_and_grad(partial(function, item_axis="items"), argnums=tuple(range(len(specs))))
    return jax.jit(jax.shard_map(gradient, mesh=MESH, in_specs=specs, out_specs=(ALL, specs), check_vma=False))


def whole_gradients(function, count):
    return jax.jit(jax.value_and_grad(function, argnums=tuple(range(count))))


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_likelihood_of_split_logits(scale):
    def total(logits, item_axis=None):
        return jnp.sum(WEIGHTS * losses.multinomial_nll(logits, BATCH, item_axis=item_axis))

    logits = scale * normal(0, B, I)
    expected, (expected_gradient,) = whole_gradients(total, 1)(logits)
    value, (gradient,) = split_gradients(total, (COLUMNS,))(padded(logits, 1, -jnp.inf))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient[:, :I], expected_gradient, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(gradient[:, I:], 0.0)


@pytest.mark.parametrize("loss", [losses.anchor_loss, losses.sampled_anchor_loss])
def test_alignment_with_split_anchors(loss):
    def total(mean, anchors, item_axis=None):
        where = Posterior(mean, 0.1 * mean) if loss is losses.anchor_loss else mean
        return jnp.sum(WEIGHTS * loss(where, anchors, BATCH, item_axis=item_axis))

    mean, anchors = normal(1, B, D), normal(2, I, D)
    expected, expected_gradients = whole_gradients(total, 2)(mean, anchors)
    value, (to_mean, to_anchors) = split_gradients(total, (ALL, ROWS))(mean, padded(anchors, 0))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    chex.assert_trees_all_close((to_mean, to_anchors[:I]), expected_gradients, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(to_anchors[I:], 0.0)


def test_first_layer_with_a_split_kernel():
    def total(values, kernel, item_axis=None):
        features = sparse.matmul(SparseInput(BATCH, values), kernel, item_axis=item_axis)
        return jnp.sum(jnp.sin(features))

    values = jnp.where(sparse.is_interaction(BATCH), normal(3, len(BATCH.items)), 0.0)
    kernel = normal(4, I, D)
    expected, expected_gradients = whole_gradients(total, 2)(values, kernel)
    value, (to_values, to_kernel) = split_gradients(total, (ALL, ROWS))(values, padded(kernel, 0))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    chex.assert_trees_all_close((to_values, to_kernel[:I]), expected_gradients, rtol=1e-5, atol=1e-6)


def test_conjugate_operators_and_masked_padding_of_a_linear_layer():
    def total(features, kernel, bias, item_axis=None):
        bias = item_parallel.mask_padding(bias, I, item_axis)
        logits = item_parallel.copy_to_shards(features, item_axis) @ kernel + bias[None, :]
        weighted = jnp.exp(0.1 * logits).sum(axis=1)  # nothing at -inf
        return jnp.sum(WEIGHTS * item_parallel.sum_over_shards(weighted, item_axis))

    features, kernel, bias = normal(5, B, D), normal(6, D, I), normal(7, I)
    expected, expected_gradients = whole_gradients(total, 3)(features, kernel, bias)
    specs = (ALL, COLUMNS, ROWS)
    value, gradients = split_gradients(total, specs)(features, padded(kernel, 1, 7.0), padded(bias, 0, 7.0))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    to_features, to_kernel, to_bias = gradients
    chex.assert_trees_all_close((to_features, to_kernel[:, :I], to_bias[:I]), expected_gradients, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(to_kernel[:, I:], 0.0)
    np.testing.assert_array_equal(to_bias[I:], 0.0)


def test_dense_rows_are_not_split():
    rows = jnp.ones((B, I))
    for refused in (
        lambda: losses.multinomial_nll(rows, rows, item_axis="items"),
        lambda: losses.anchor_centroid(normal(0, I, D), rows, item_axis="items"),
        lambda: sparse.matmul(rows, normal(0, I, D), item_axis="items"),
    ):
        with pytest.raises(UserError, match="item_axis='items' needs sparse rows"):
            refused()
