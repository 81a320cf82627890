import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batch_factory import dense_rows, sparse_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from piavae_jax import masking, sparse

I, F = 23, 6
TABLE = np.random.default_rng(0).normal(size=(I, F)).astype(np.float32)


@jax.jit
def forward_and_backward(table, weights, batch, cotangent):
    total, pullback = jax.vjp(lambda t, w: sparse.weighted_row_sum(t, w, batch), table, weights)
    return total, *pullback(cotangent)


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(0, I), min_size=6, max_size=6), seed=st.integers(0, 99))
def test_weighted_row_sum_is_a_matrix_product(lengths, seed):
    rows = dense_rows(lengths, I, seed=seed)
    count = int(rows.sum())
    slots = 6 * I + 2  # one shape for all examples, with at least two slots of padding
    batch = sparse_batch(rows, padding=slots - count)
    generator = np.random.default_rng(seed)
    weights, cotangent = generator.normal(size=slots), generator.normal(size=(6, F))
    weighted = np.zeros(rows.shape)
    weighted[rows > 0] = weights[:count]
    total, to_table, to_weights = forward_and_backward(
        jnp.asarray(TABLE), jnp.asarray(weights, jnp.float32), batch, jnp.asarray(cotangent, jnp.float32)
    )
    np.testing.assert_allclose(total, weighted @ TABLE, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_table, weighted.T @ cotangent, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_weights[:count], (cotangent @ TABLE.T)[rows > 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(to_weights[count:], 0.0)


def test_gradients_are_the_numerical_ones():
    batch = sparse_batch(dense_rows([0, 1, 5, 23], I), padding=3)
    weights = jnp.linspace(0.5, 1.5, batch.items.shape[0])
    check_grads(
        jax.jit(lambda table, weights: sparse.weighted_row_sum(table, weights, batch).sum(axis=0)),
        (jnp.asarray(TABLE), weights),
        order=1,
        modes=["rev"],
        atol=1e-2,
        rtol=1e-2,
    )


def test_second_derivatives_are_those_of_a_matrix_product():
    rows = dense_rows([0, 1, 5], 7)
    batch, table = sparse_batch(rows, padding=2), jnp.asarray(TABLE[:7, :2])
    ones = jnp.ones(batch.items.shape)
    curvature = jax.hessian(lambda table: jnp.sum(jnp.tanh(sparse.weighted_row_sum(table, ones, batch))))(table)
    plain = jax.hessian(lambda table: jnp.sum(jnp.tanh(jnp.asarray(rows) @ table)))(table)
    np.testing.assert_allclose(curvature, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 3 * F, 20 * F])
def test_sums_do_not_depend_on_how_many_blocks_are_added_up_at_a_time(at_once, monkeypatch):
    rows = dense_rows([0, 3, 23, 9, 16], I)
    batch = sparse_batch(rows, padding=6)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=batch.items.shape), jnp.float32)
    expected = sparse.weighted_row_sum(jnp.asarray(TABLE), weights, batch)
    monkeypatch.setattr(sparse, "_AT_ONCE", at_once)
    found = sparse.weighted_row_sum(jnp.asarray(TABLE), weights, batch)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_encoder_matmul_is_the_same_on_sparse_and_dense_rows():
    rows = dense_rows([0, 1, 5, 23], I)
    dense = sparse.matmul(masking.encoder_input(jnp.asarray(rows)), jnp.asarray(TABLE))
    thin = sparse.matmul(masking.encoder_input(sparse_batch(rows, padding=2)), jnp.asarray(TABLE))
    np.testing.assert_allclose(thin, dense, rtol=1e-5, atol=1e-6)


def test_row_mean_is_the_mean_of_positives():
    rows = dense_rows([0, 1, 5, 23], I)
    mean = sparse.row_mean(jnp.asarray(TABLE), sparse_batch(rows))
    np.testing.assert_array_equal(mean[0], 0.0)
    for row, value in zip(rows[1:], mean[1:], strict=True):
        np.testing.assert_allclose(value, TABLE[row > 0].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("wide", [False, True])
def test_memory_stays_sparse(wide):
    """Neither direction holds an array of N x F or B x I: both are far larger than table and output here."""
    rows = dense_rows([40] * 8, 1000 if wide else 50)
    batch = sparse_batch(rows)
    table = jnp.ones((rows.shape[1], 64))
    weights = jnp.ones(batch.items.shape)
    gradient = jax.jit(jax.grad(lambda table: sparse.weighted_row_sum(table, weights, batch).sum()))
    text = gradient.lower(table).compile().as_text()
    assert f"f32[{batch.items.shape[0]},64]" not in text
    assert f"f32[8,{rows.shape[1]}]" not in text
