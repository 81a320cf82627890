import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from piavae_jax.evaluation.blocks import best_blocks, best_by_bisection, best_by_sorting, block_maxima

SCORES = st.sampled_from([-np.inf, -3.4e38, -2.0, -1e-40, 0.0, 1e-45, 0.5, 1.0, 3.4e38])


def expected_blocks(maxima, k):
    """The first k by a stable sort, and the least maximum among them."""
    order = np.argsort(-maxima, axis=1, kind="stable")[:, :k]
    return np.sort(order, axis=1), np.take_along_axis(maxima, order, axis=1)[:, -1]


def test_block_maxima_by_hand():
    maxima = block_maxima(jnp.asarray([[1.0, 3.0, 2.0, -4.0, -jnp.inf, -jnp.inf, -5.0]]), 2)
    np.testing.assert_array_equal(maxima, [[3, 2, -np.inf, -5]])


def test_a_block_with_nan_has_a_maximum_of_nan():
    np.testing.assert_array_equal(block_maxima(jnp.asarray([[1.0, jnp.nan, 2.0, 3.0]]), 2), [[np.nan, 3]])


BY_DEVICE = pytest.mark.parametrize("find", [best_by_bisection, best_by_sorting])


def test_best_blocks_by_hand():
    blocks, least = best_blocks(jnp.asarray([[1.0, 5.0, 1.0, 7.0, 1.0], [-1.0, -2.0, -3.0, -4.0, -5.0]]), 3)
    np.testing.assert_array_equal(blocks, [[0, 1, 3], [0, 1, 2]])
    np.testing.assert_array_equal(least, [1, -3])


@BY_DEVICE
@settings(max_examples=60, deadline=None)
@given(maxima=hnp.arrays(np.float32, (4, 9), elements=SCORES), k=st.integers(1, 9))
def test_either_way_agrees_with_a_stable_sort(find, maxima, k):
    blocks, least = jax.jit(find, static_argnums=1)(maxima, k)
    expected, expected_least = expected_blocks(maxima, k)
    np.testing.assert_array_equal(blocks, expected)
    np.testing.assert_array_equal(least, expected_least)


@BY_DEVICE
@pytest.mark.parametrize("k", [1, 3, 100, 613])
def test_best_blocks_of_random_rows(find, k):
    maxima = np.random.default_rng(k).normal(size=(5, 613)).astype(np.float32)
    for found, expected in zip(find(jnp.asarray(maxima), k), expected_blocks(maxima, k), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_gpu_finds_its_best_blocks_without_a_loop():
    maxima = jax.ShapeDtypeStruct((5, 613), np.float32)
    lowered = {
        platform: jax.export.export(jax.jit(best_blocks, static_argnums=1), platforms=[platform])(maxima, 100)
        for platform in ("cpu", "cuda")
    }
    assert "stablehlo.while" in lowered["cpu"].mlir_module()
    assert "stablehlo.while" not in lowered["cuda"].mlir_module()
