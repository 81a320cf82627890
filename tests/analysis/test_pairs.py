"""Pairs of users: never a user with itself, everyone as often."""

import jax
import numpy as np
import pytest

from piavae_jax import analysis
from piavae_jax.errors import UserError


def test_random_pairs_are_even_and_of_two_users():
    pairs = analysis.random_pairs(4, 12_000, key=jax.random.key(0))
    counts = np.zeros((4, 4), int)
    np.add.at(counts, tuple(pairs.T), 1)
    assert np.all(np.diag(counts) == 0)
    assert np.abs(counts[~np.eye(4, dtype=bool)] - 1000).max() < 150  # five standard deviations
    with pytest.raises(UserError, match="at least 2 users, got 1"):
        analysis.random_pairs(1, 3, key=jax.random.key(0))


def test_spread_pairs_cover_the_range():
    distances = np.concatenate([np.full(1000, 5.0), np.linspace(0, 10, 50)])
    chosen = analysis.spread_pairs(distances, 40, key=jax.random.key(0))
    assert len(np.unique(chosen)) == len(chosen) <= 40
    assert np.count_nonzero(distances[chosen] == 5.0) <= 2
    assert distances[chosen].min() < 0.5
    assert distances[chosen].max() > 9.5
