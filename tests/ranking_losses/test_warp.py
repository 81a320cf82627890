import chex
import jax
import jax.numpy as jnp
import numpy as np
import pairwise_oracle as oracle
import pytest
from batch_factory import dense_rows, sparse_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from piavae_jax import UserError, ranking_losses
from piavae_jax.ranking_losses import warp

B, I = 5, 17
LENGTHS = [0, 1, 3, 7, 17]  # an empty row, one item, all items
ROWS = dense_rows(LENGTHS, I)
BATCHES = {"dense": jnp.asarray(ROWS), "sparse": sparse_batch(ROWS), "padded": sparse_batch(ROWS, padding=6)}
LOGITS = jnp.asarray(np.random.default_rng(0).normal(size=(B, I)), jnp.float32)
batches = pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())


@jax.jit
def value_and_gradient(logits, batch, margin=1.0):
    value, pullback = jax.vjp(lambda logits: ranking_losses.warp_loss(logits, batch, margin=margin), logits)
    return value, pullback(jnp.ones_like(value))[0]


def test_hand_made_rows():
    # Item 1 leads nothing by the margin: hinges 1.5 and 0.5, H(2) = 1.5 times their mean 1. With item 2 further away
    # only the first is left, with H(1) = 1.
    logits = jnp.array([[2.0, 1.5, 1.0], [2.0, 1.5, 0.25]])
    value, gradient = value_and_gradient(logits, jnp.array([[0.0, 1.0, 0.0]] * 2))
    np.testing.assert_allclose(value, [1.5, 1.5], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[0.75, -1.5, 0.75], [1.0, -1.0, 0.0]], rtol=1e-6)


@batches
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("margin", [0.1, 1.0])
def test_values_and_gradients_equal_the_oracle(batch, scale, margin):
    value, gradient = value_and_gradient(scale * LOGITS, batch, margin)
    expected, expected_gradient = oracle.warp(scale * LOGITS, ROWS, margin)
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=2e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(0, I), min_size=B, max_size=B), seed=st.integers(0, 99))
def test_ties_equal_the_oracle(lengths, seed):
    # Whole numbers: many items score the same, and many exactly the margin less than a positive.
    rows = dense_rows(lengths, I, seed=seed)
    batch = sparse_batch(rows, padding=B * I + 2 - int(rows.sum()))  # one shape for all examples
    logits = np.random.default_rng(seed).integers(-3, 4, size=(B, I)).astype(np.float32)
    value, gradient = value_and_gradient(jnp.asarray(logits), batch)
    expected, expected_gradient = oracle.warp(logits, rows, 1.0)
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=2e-5, atol=1e-6)


def test_gradient_is_the_numerical_one():
    # Scores 0.37 apart: no step of the differences changes a rank.
    logits = 0.37 * jnp.asarray(np.random.default_rng(1).permuted(np.tile(np.arange(I), (B, 1)), axis=1), jnp.float32)
    loss = jax.jit(lambda logits: ranking_losses.warp_loss(logits, BATCHES["padded"]))
    check_grads(loss, (logits,), order=1, modes=["rev"], atol=2e-2, rtol=2e-2, eps=1e-2)


def test_jit_changes_nothing():
    value = ranking_losses.warp_loss(LOGITS, BATCHES["dense"])
    np.testing.assert_allclose(value, value_and_gradient(LOGITS, BATCHES["dense"])[0], rtol=1e-6, atol=1e-6)


def test_a_padded_row_costs_nothing():
    batch = sparse_batch(ROWS, padding=3, padded_rows=2)
    value, gradient = value_and_gradient(jnp.pad(LOGITS, ((0, 2), (0, 0))), batch)
    np.testing.assert_allclose(value[:B], value_and_gradient(LOGITS, BATCHES["sparse"])[0], rtol=1e-6)
    np.testing.assert_array_equal(value[B:], 0.0)
    np.testing.assert_array_equal(gradient[B:], 0.0)


def test_values_follow_permutations_and_ignore_a_shift():
    value, gradient = value_and_gradient(LOGITS, BATCHES["dense"])
    users, items = np.random.default_rng(2).permutation(B), np.random.default_rng(3).permutation(I)
    permuted, permuted_gradient = value_and_gradient(LOGITS[users][:, items], jnp.asarray(ROWS[users][:, items]))
    np.testing.assert_allclose(permuted, value[users], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(permuted_gradient, gradient[users][:, items], rtol=1e-5, atol=1e-6)
    shifted, _ = value_and_gradient(LOGITS + 4.0, BATCHES["dense"])
    np.testing.assert_allclose(shifted, value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("offset", [1e4, -1e6])
def test_logits_far_from_zero_equal_the_oracle(offset):
    logits = jnp.round(offset + 8 * LOGITS)
    value, gradient = value_and_gradient(logits, BATCHES["padded"])
    expected, expected_gradient = oracle.warp(logits, ROWS, 1.0)
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=2e-5, atol=1e-6)


def test_a_long_list_in_a_batch_of_many_equals_the_oracle():
    """Rounding does not pile up over rows nor over thousands of violators."""
    rows = dense_rows([1, 40, 200, 5], 3000)
    logits = np.random.default_rng(4).normal(size=rows.shape).astype(np.float32)
    value, gradient = value_and_gradient(jnp.asarray(logits), sparse_batch(rows))
    expected, expected_gradient = oracle.warp(logits, rows, 1.0)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("few", [0, 3, I])  # all rows searched, some, none
@pytest.mark.parametrize("at_once", [1, 2 * I, 3 * I, B * I])  # a row, two (the last block reaches back), three, all
def test_bits_do_not_depend_on_how_a_cpu_looks_items_up(at_once, few, monkeypatch):
    expected, expected_gradient = value_and_gradient(LOGITS, BATCHES["padded"])
    monkeypatch.setattr(warp, "_AT_ONCE", at_once)
    monkeypatch.setattr(warp, "_FEW", few)
    monkeypatch.setattr(warp, "_TOGETHER", 4)  # a row of all items takes five passes
    warp._weights.clear_cache()  # it was compiled for the usual numbers
    value, pullback = jax.vjp(lambda logits: ranking_losses.warp_loss(logits, BATCHES["padded"]), LOGITS)
    warp._weights.clear_cache()
    np.testing.assert_allclose(value, expected, rtol=1e-6)  # summed in another program
    np.testing.assert_array_equal(pullback(jnp.ones(B))[0], expected_gradient)


@pytest.mark.parametrize("batch", [BATCHES["padded"], sparse_batch(ROWS[1:2]), sparse_batch(0 * ROWS, padding=2)])
def test_an_accelerator_finds_what_a_cpu_finds(batch):
    count = batch.lengths.shape[0]
    values = jnp.sort(jax.random.normal(jax.random.key(0), (1, len(batch.items))))[0]
    limits = jax.random.normal(jax.random.key(1), (count, I))
    arguments = values, limits, warp.first_slots(batch), batch.lengths
    chex.assert_trees_all_equal(warp._search_at_once(*arguments), warp._search_in_blocks(*arguments))


@pytest.mark.parametrize(("platform", "loops"), [("cuda", 0), ("tpu", 0), ("cpu", 3)])
def test_each_platform_has_its_search(platform, loops):
    batch = BATCHES["padded"]
    traced = jax.jit(warp._last_slots_below).trace(jnp.zeros(len(batch.items)), LOGITS, batch)
    assert traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.while") == loops


@batches
def test_items_that_are_taken_out_violate_nothing(batch):
    out = (ROWS == 0) & (np.arange(I) % 2 == 0)[None, :]
    value, gradient = value_and_gradient(jnp.where(out, -jnp.inf, LOGITS), batch)
    expected, expected_gradient = value_and_gradient(jnp.where(out, -50.0, LOGITS), batch)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


def test_a_list_of_one_item_has_no_violator():
    value, gradient = value_and_gradient(jnp.zeros((1, 1)), jnp.ones((1, 1)))
    np.testing.assert_array_equal(value, 0.0)
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan")])
def test_a_margin_that_is_none_is_refused(margin):
    with pytest.raises(UserError, match=f"margin must be above 0, got {margin}"):
        ranking_losses.warp_loss(LOGITS, BATCHES["dense"], margin=margin)
