import functools

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
from piavae_jax.ranking_losses import lambdarank

B, I = 5, 17
LENGTHS = [0, 1, 3, 7, 17]  # an empty row, one item, all items
ROWS = dense_rows(LENGTHS, I)
BATCHES = {"dense": jnp.asarray(ROWS), "sparse": sparse_batch(ROWS), "padded": sparse_batch(ROWS, padding=6)}
LOGITS = jnp.asarray(np.random.default_rng(0).normal(size=(B, I)), jnp.float32)
batches = pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())


@functools.partial(jax.jit, static_argnames=("k", "sigma"))
def value_and_gradient(logits, batch, k=None, sigma=1.0):
    value, pullback = jax.vjp(lambda logits: ranking_losses.lambdarank_loss(logits, batch, k=k, sigma=sigma), logits)
    return value, pullback(jnp.ones_like(value))[0]


def test_hand_made_row():
    # Two items that score the same: the first ranks first, the second is the positive. log(1 + e^0) = log 2.
    value, gradient = value_and_gradient(jnp.zeros((1, 2)), jnp.array([[0.0, 1.0]]))
    weight = 1 - 1 / np.log2(3)
    np.testing.assert_allclose(value, [weight * np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[weight / 2, -weight / 2]], rtol=1e-6)


@batches
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize(("k", "sigma"), [(None, 1.0), (4, 2.0), (1, 1.0), (100, 1.0)])
def test_values_and_gradients_equal_the_oracle(batch, scale, k, sigma):
    value, gradient = value_and_gradient(scale * LOGITS, batch, k, sigma)
    expected, expected_gradient = oracle.lambdarank(scale * LOGITS, ROWS, k, sigma)
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=2e-5, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(0, I), min_size=B, max_size=B), seed=st.integers(0, 99))
def test_ties_equal_the_oracle(lengths, seed):
    rows = dense_rows(lengths, I, seed=seed)
    batch = sparse_batch(rows, padding=B * I + 2 - int(rows.sum()))  # one shape for all examples
    logits = np.random.default_rng(seed).integers(-3, 4, size=(B, I)).astype(np.float32)
    value, gradient = value_and_gradient(jnp.asarray(logits), batch, 4)
    expected, expected_gradient = oracle.lambdarank(logits, rows, 4, 1.0)
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("pairs", [1, 300, 10_000])
def test_values_do_not_depend_on_how_many_pairs_are_visited_at_a_time(pairs, monkeypatch):
    # Blocks of three positives: rows of 7 and 17 take several, and the last of each is not full.
    monkeypatch.setattr(lambdarank, "_BLOCK", 3)
    monkeypatch.setattr(lambdarank, "_PAIRS", pairs)
    lambdarank._visit_pairs.clear_cache()  # it was compiled for the usual numbers
    value, pullback = jax.vjp(lambda logits: ranking_losses.lambdarank_loss(logits, BATCHES["padded"]), LOGITS)
    lambdarank._visit_pairs.clear_cache()
    expected, expected_gradient = value_and_gradient(LOGITS, BATCHES["dense"])
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pullback(jnp.ones(B))[0], expected_gradient, rtol=1e-5, atol=1e-6)


def test_gradient_is_the_numerical_one_of_each_user():
    # Scores 0.37 apart: no step of the differences changes a rank.
    logits = 0.37 * jnp.asarray(np.random.default_rng(1).permuted(np.tile(np.arange(I), (B, 1)), axis=1), jnp.float32)
    loss = jax.jit(lambda logits: ranking_losses.lambdarank_loss(logits, BATCHES["padded"]))
    check_grads(loss, (logits,), order=1, modes=["rev"], atol=2e-2, rtol=2e-2, eps=1e-2)
    # A user's cotangent reaches the user's row alone.
    cotangent = jnp.arange(float(B))
    _, pullback = jax.vjp(loss, logits)
    whole = value_and_gradient(logits, BATCHES["padded"])[1]
    np.testing.assert_allclose(pullback(cotangent)[0], cotangent[:, None] * whole, rtol=1e-6)


def test_jit_and_differentiation_change_no_value():
    value = ranking_losses.lambdarank_loss(LOGITS, BATCHES["dense"])
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
    np.testing.assert_allclose(shifted, value, rtol=1e-5, atol=1e-6)


def test_huge_logits_stay_finite():
    value, gradient = value_and_gradient(1e6 * LOGITS, BATCHES["padded"])
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


@batches
def test_items_that_are_taken_out_are_in_no_pair(batch):
    out = (ROWS == 0) & (np.arange(I) % 2 == 0)[None, :]
    value, gradient = value_and_gradient(jnp.where(out, -jnp.inf, LOGITS), batch)
    far_below, expected = value_and_gradient(jnp.where(out, -50.0, LOGITS), batch)
    np.testing.assert_allclose(value, far_below, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_a_call_outside_a_program_compiles_one_once():
    ranking_losses.lambdarank_loss(LOGITS, BATCHES["padded"])
    before = lambdarank._visit_pairs._cache_size()
    ranking_losses.lambdarank_loss(LOGITS + 1.0, BATCHES["padded"])
    assert lambdarank._visit_pairs._cache_size() == before > 0


def test_a_list_of_one_item_has_no_pair():
    value, gradient = value_and_gradient(jnp.zeros((1, 1)), jnp.ones((1, 1)))
    np.testing.assert_array_equal(value, 0.0)
    np.testing.assert_array_equal(gradient, 0.0)


def test_pairs_are_never_held_together():
    """Neither direction has an array of all interactions beside all items: the largest is a few blocks of rows."""
    rows = dense_rows([60] * 8, 20_000)
    batch = sparse_batch(rows)
    gradient = jax.jit(jax.grad(lambda logits: ranking_losses.lambdarank_loss(logits, batch, k=100).sum()))
    memory = gradient.lower(jnp.zeros(rows.shape)).compile().memory_analysis()
    all_pairs = 4 * len(batch.items) * rows.shape[1]
    assert memory.temp_size_in_bytes < all_pairs / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"k": 0}, "k must be at least 1, got 0"), ({"sigma": 0.0}, "sigma must be above 0, got 0.0")],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        ranking_losses.lambdarank_loss(LOGITS, BATCHES["dense"], **arguments)
