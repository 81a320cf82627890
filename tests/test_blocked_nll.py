"""The blocked likelihood against the plain one: value, gradients, extremes, and what it keeps in memory."""

import re
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import objective_oracle as oracle
import pytest
from batch_factory import dense_rows, sparse_batch
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads

from piavae_jax import losses
from piavae_jax.errors import UserError
from piavae_jax.types import FactoredLogits, Posterior

B, I, H = 5, 17, 3
LENGTHS = [0, 1, 3, 7, 17]  # an empty row, one item, all items
ROWS = dense_rows(LENGTHS, I)
BATCH = sparse_batch(ROWS, padding=4)
WEIGHTS = jnp.arange(1.0, B + 1)


def factors(seed=0, *, num_items=I, hidden=H, rows=B, scale=1.0):
    generator = np.random.default_rng(seed)
    shapes = (rows, hidden), (hidden, num_items), (num_items,)
    return FactoredLogits(*(jnp.asarray(scale * generator.normal(size=shape), jnp.float32) for shape in shapes))


def plain(logits, batch):
    return losses.multinomial_nll(logits.features @ logits.kernel + logits.bias[None, :], batch)


def total(likelihood, batch):
    return jax.jit(jax.value_and_grad(lambda logits: jnp.sum(WEIGHTS * likelihood(logits, batch))))


def test_a_hand_made_row():
    logits = FactoredLogits(jnp.zeros((1, 1)), jnp.zeros((1, 3)), jnp.log(jnp.array([0.5, 0.25, 0.25])))
    batch = sparse_batch(np.array([[1.0, 0.0, 1.0]], np.float32))
    value = losses.blocked_multinomial_nll(logits, batch, block=2)
    np.testing.assert_allclose(value, [-np.log(0.5) - np.log(0.25)], rtol=1e-6)


@pytest.mark.parametrize("block", [1, 4, 16, 17, 100])
def test_value_and_gradients_are_those_of_the_plain_likelihood(block):
    logits = factors()
    blocked = partial(losses.blocked_multinomial_nll, block=block)
    value, gradients = total(blocked, BATCH)(logits)
    expected, expected_gradients = total(plain, BATCH)(logits)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    chex.assert_trees_all_close(gradients, expected_gradients, rtol=1e-5, atol=1e-5)
    whole = np.asarray(logits.features, np.float64) @ np.asarray(logits.kernel, np.float64) + np.asarray(logits.bias)
    np.testing.assert_allclose(jax.jit(blocked)(logits, BATCH), oracle.nll(whole, ROWS), rtol=1e-5, atol=1e-6)


def test_gradients_are_the_numerical_ones():
    blocked = partial(losses.blocked_multinomial_nll, batch=BATCH, block=5)
    check_grads(
        jax.jit(lambda *arrays: jnp.sum(WEIGHTS * blocked(FactoredLogits(*arrays)))),
        tuple(factors(1)),
        order=1,
        modes=["rev"],
        atol=2e-2,
        rtol=2e-2,
        eps=1e-2,
    )


def test_dense_rows_and_jit_change_nothing():
    logits = factors(2)
    expected = losses.blocked_multinomial_nll(logits, BATCH, block=6)
    np.testing.assert_allclose(
        losses.blocked_multinomial_nll(logits, jnp.asarray(ROWS), block=6), expected, rtol=1e-5, atol=1e-6
    )
    jitted = jax.jit(partial(losses.blocked_multinomial_nll, block=6))(logits, BATCH)
    np.testing.assert_allclose(jitted, expected, rtol=1e-6)


def test_double_precision_stays_double():
    with jax.enable_x64(True):
        logits = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), factors(2))
        value, pullback = jax.vjp(lambda logits: losses.blocked_multinomial_nll(logits, BATCH, block=5), logits)
        expected, expected_pullback = jax.vjp(lambda logits: plain(logits, BATCH), logits)
        assert value.dtype == jnp.float64
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        chex.assert_trees_all_close(
            pullback(jnp.ones(B, value.dtype))[0],
            expected_pullback(jnp.ones(B, value.dtype))[0],
            rtol=1e-10,
            atol=1e-12,
        )


def test_padded_rows_cost_nothing():
    logits = factors(3)
    wider = logits._replace(features=jnp.pad(logits.features, ((0, 2), (0, 0)), constant_values=3.0))
    value = losses.blocked_multinomial_nll(wider, sparse_batch(ROWS, padded_rows=2), block=4)
    np.testing.assert_allclose(value[:B], losses.blocked_multinomial_nll(logits, BATCH, block=4), rtol=1e-6)
    np.testing.assert_array_equal(value[B:], 0.0)


@pytest.mark.parametrize("scale", [0.0, 100.0])
def test_extreme_logits_stay_finite_and_right(scale):
    logits = factors(4, scale=scale)
    value, gradients = total(partial(losses.blocked_multinomial_nll, block=4), BATCH)(logits)
    expected, expected_gradients = total(plain, BATCH)(logits)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    chex.assert_trees_all_close(gradients, expected_gradients, rtol=1e-4, atol=1e-3)


def test_objectives_take_it():
    logits = factors(5)
    posterior = Posterior(logits.features, 0.1 * logits.features)
    choice = {"beta": 0.3, "anchors": logits.kernel.T, "anchor_weight": 2.0}
    likelihood = partial(losses.blocked_multinomial_nll, block=4)
    blocked = jax.jit(partial(losses.pia_elbo, likelihood=likelihood, **choice))(posterior, logits, BATCH)
    multiplied = logits.features @ logits.kernel + logits.bias[None, :]
    whole = jax.jit(partial(losses.pia_elbo, **choice))(posterior, multiplied, BATCH)
    chex.assert_trees_all_close(blocked, whole, rtol=1e-5, atol=1e-6)


def test_blocks_of_split_items():
    """Blocks within shards: two shards of nine items, the last one padding, in blocks of four."""
    logits = factors(6)
    mesh = jax.make_mesh((2,), ("items",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    whole, columns, rows = PartitionSpec(), PartitionSpec(None, "items"), PartitionSpec("items")
    specs = FactoredLogits(whole, columns, rows)
    gradient = jax.value_and_grad(
        lambda own: jnp.sum(WEIGHTS * losses.blocked_multinomial_nll(own, BATCH, block=4, item_axis="items"))
    )
    split = jax.shard_map(gradient, mesh=mesh, in_specs=(specs,), out_specs=(whole, specs), check_vma=False)
    padded = logits._replace(
        kernel=jnp.pad(logits.kernel, ((0, 0), (0, 1))), bias=jnp.pad(logits.bias, (0, 1), constant_values=-jnp.inf)
    )
    value, gradients = jax.jit(split)(padded)
    expected, expected_gradients = total(plain, BATCH)(logits)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    unpadded = gradients._replace(kernel=gradients.kernel[:, :I], bias=gradients.bias[:I])
    chex.assert_trees_all_close(unpadded, expected_gradients, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(gradients.kernel[:, I:], 0.0)


def test_no_buffer_holds_all_logits():
    num_items, hidden, rows = 4096, 8, 64
    batch = sparse_batch(dense_rows([5] * rows, num_items))
    logits = factors(7, num_items=num_items, hidden=hidden, rows=rows)

    def compiled(likelihood):
        gradient = jax.grad(lambda logits: jnp.sum(likelihood(logits, batch)))
        return jax.jit(gradient).lower(logits).compile()

    whole, blocked = compiled(plain), compiled(partial(losses.blocked_multinomial_nll, block=256))
    everything, part = rf"\[{rows},{num_items}\]", rf"\[{rows},256\]"
    assert re.search(everything, whole.as_text())
    assert not re.search(everything, blocked.as_text())
    assert re.search(part, blocked.as_text())
    logits_bytes = 4 * rows * num_items
    assert whole.memory_analysis().temp_size_in_bytes >= logits_bytes
    assert blocked.memory_analysis().temp_size_in_bytes < logits_bytes / 2


def test_a_block_has_at_least_one_item():
    with pytest.raises(UserError, match="block must be at least 1 item, got 0"):
        losses.blocked_multinomial_nll(factors(), BATCH, block=0)
