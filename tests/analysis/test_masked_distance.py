"""Theorem 2.6 by enumeration of all masks, by simulation, and where its bounds say nothing."""

from itertools import product

import jax
import numpy as np
import pytest

from piavae_jax import analysis
from piavae_jax.errors import UserError

KEEP_PROBS, DELTAS = (0.0, 0.3, 0.5, 0.9, 1.0), (0.5, 1, 2, 2.5, 4, 9)


def enumerate_distances(h, s, keep_prob):
    """P(D' = d) by summing over all masks: h bits for the items of one user, two for each shared one."""
    chances = np.zeros(h + s + 1)
    for bits in product((0, 1), repeat=h + 2 * s):
        alone, first, second = bits[:h], bits[h : h + s], bits[h + s :]
        distance = sum(alone) + sum(one != two for one, two in zip(first, second, strict=True))
        chances[distance] += np.prod([keep_prob if bit else 1 - keep_prob for bit in bits])
    return chances


@pytest.mark.parametrize(("h", "s"), [(0, 0), (3, 0), (0, 3), (2, 3), (4, 2)])
@pytest.mark.parametrize("keep_prob", KEEP_PROBS)
def test_exact_probability_is_that_of_all_masks(h, s, keep_prob):
    chances = enumerate_distances(h, s, keep_prob)
    for delta in DELTAS:
        closer = chances[np.arange(h + s + 1) < delta].sum()
        setting = {"keep_prob": keep_prob, "delta": delta}
        np.testing.assert_allclose(analysis.closer_probability(h, s, **setting), closer, atol=1e-12)
        assert analysis.contraction_bound(h, s, **setting) <= closer + 1e-12
        assert analysis.expansion_bound(h, s, **setting) <= 1 - closer + 1e-12
    mean = analysis.mean_masked_distance(h, s, keep_prob=keep_prob)
    np.testing.assert_allclose(mean, np.arange(h + s + 1) @ chances, atol=1e-12)


def test_bounds_are_the_printed_ones():
    # Eq. 24 and 25 with h = 2, s = 3, rho = 1/2, delta = 2: T = 1, U = 2.
    setting = {"keep_prob": 0.5, "delta": 2}
    np.testing.assert_allclose(analysis.contraction_bound(2, 3, **setting), 0.5**3 * (1 + 2) / 4)
    np.testing.assert_allclose(analysis.expansion_bound(2, 3, **setting), (3 + 1) / 8)


def test_everything_broadcasts():
    h, s, delta = np.arange(3)[:, None, None], np.array([0, 5])[:, None], np.array([1.0, 3.0, 7.5, 8.0])
    for function in (analysis.closer_probability, analysis.contraction_bound, analysis.expansion_bound):
        grid = function(h, s, keep_prob=0.7, delta=delta)
        assert grid.shape == (3, 2, 4)
        np.testing.assert_allclose(grid[2, 1, 3], function(2, 5, keep_prob=0.7, delta=8.0), atol=1e-12)


def test_simulated_masks_agree():
    drawn = analysis.simulate_masked_distance(6, 9, keep_prob=0.4, draws=20_000, key=jax.random.key(0))
    for delta in (3, 6, 9):
        exact = analysis.closer_probability(6, 9, keep_prob=0.4, delta=delta)
        np.testing.assert_allclose(np.mean(drawn < delta), exact, atol=0.015)  # four standard errors
    np.testing.assert_allclose(drawn.mean(), analysis.mean_masked_distance(6, 9, keep_prob=0.4), atol=0.06)


def test_where_the_bounds_are_vacuous():
    # Expansion says nothing of a delta beyond the shared items, though h items alone may put the rows so far apart.
    assert analysis.expansion_bound(100, 5, keep_prob=0.5, delta=10) == 0
    assert analysis.closer_probability(100, 5, keep_prob=0.5, delta=10) < 1e-9
    # Contraction needs all shared items to agree, which 40 of them hardly ever do.
    assert analysis.contraction_bound(10, 40, keep_prob=0.5, delta=60) < 1e-11
    assert analysis.closer_probability(10, 40, keep_prob=0.5, delta=60) > 1 - 1e-12
    # Masks push rows apart on average where 2 rho s > h.
    assert (
        analysis.mean_masked_distance(10, 11, keep_prob=0.5) > 10 > analysis.mean_masked_distance(10, 9, keep_prob=0.5)
    )


@pytest.mark.parametrize(
    ("h", "keep_prob", "delta", "message"),
    [
        (-1, 0.5, 1, "must not be negative"),
        (2, 1.5, 1, r"in \[0, 1\], got 1.5"),
        (2, 0.5, 0, "must be positive, got 0"),
    ],
)
def test_refuses_what_is_out_of_range(h, keep_prob, delta, message):
    with pytest.raises(UserError, match=message):
        analysis.closer_probability(h, 3, keep_prob=keep_prob, delta=delta)
