import jax
import numpy as np
import pytest

from piavae_jax import ordering

FITS = 2**31 // 50 - 1
"""The largest integer that 50 of, each with its place, fit an int32."""


@pytest.mark.parametrize("largest", [0, 3, FITS - 1, FITS, FITS + 1, 2**31 - 2])
def test_integers_are_in_stable_order_up_to_what_fits_and_beyond(largest):
    values = np.random.default_rng(0).choice([0, largest // 2, largest], size=50).astype(np.int32)
    order = jax.jit(lambda values: ordering.order_integers(values, largest=largest))(values)
    np.testing.assert_array_equal(order, np.argsort(values, stable=True))


def draw_scores(shape):
    """Scores of all sizes and signs, some equal, some infinite, some zero."""
    generator = np.random.default_rng(0)
    scores = generator.normal(size=shape) * 10.0 ** generator.integers(-30, 30, size=shape)
    for value in (0.0, -0.0, 1.5, -1.5, np.inf, -np.inf):
        scores[generator.random(shape) < 0.1] = value
    return scores.astype(np.float32)


@pytest.mark.parametrize("num_items", [1, 2, 9, 700, 46_340, 46_341])  # pairs of the last do not fit an int32
def test_scores_are_in_the_order_of_top_k(num_items):
    scores = draw_scores((3, num_items))
    _, expected = jax.lax.top_k(scores, num_items)
    np.testing.assert_array_equal(jax.jit(ordering.order_scores)(scores), expected)
    equal_ones_by_item = np.argsort(-scores, axis=1, stable=True)
    zeros_alike = np.where(scores == 0, np.float32(0), scores)  # XLA has 0.0 before -0.0
    np.testing.assert_array_equal(jax.jit(ordering.order_scores)(zeros_alike), equal_ones_by_item)


def test_scores_of_double_precision_are_in_order_too():
    with jax.enable_x64(True):
        scores = 1.0 + 1e-12 * np.random.default_rng(0).permuted(np.tile(np.arange(50.0), (3, 1)), axis=1)
        np.testing.assert_array_equal(ordering.order_scores(jax.numpy.asarray(scores)), np.argsort(-scores, axis=1))
