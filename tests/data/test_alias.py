import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piavae_jax.data import alias


def _implied(tables: alias.AliasTables) -> np.ndarray:
    """The distributions that the tables stand for: each slot is drawn evenly, and yields itself or its alias."""
    accept, other = tables.accept.reshape(-1, tables.size), tables.alias.reshape(-1, tables.size)
    implied = accept.copy()
    for row in range(len(implied)):
        np.add.at(implied[row], other[row], 1 - accept[row])
    return implied / tables.size


@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 300),
    spread=st.sampled_from([0.0, 1e-9, 0.3, 2.0, 8.0]),
    zeros=st.booleans(),
)
def test_tables_stand_for_exactly_the_given_distributions(seed, size, spread, zeros):
    rng = np.random.default_rng(seed)
    weights = np.exp(spread * rng.standard_normal((3, size)))
    if zeros and size > 1:
        weights[:, 0] = 0.0
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(_implied(alias.build(probabilities)), probabilities, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [3, 7, 49, 98])
def test_even_distributions_survive_rounding(size):
    probabilities = np.full((1, size), 1 / size)
    np.testing.assert_allclose(_implied(alias.build(probabilities)), probabilities, rtol=1e-12)


def test_draws_follow_the_row_that_was_asked_for():
    probabilities = np.array([[0.7, 0.2, 0.1, 0.0], [0.0, 0.05, 0.05, 0.9]])
    rows = np.repeat([0, 1], 50_000).astype(np.int32)
    draws = alias.build(probabilities).draw(rows, np.random.default_rng(0))
    for row in (0, 1):
        share = np.bincount(draws[rows == row], minlength=4) / 50_000
        np.testing.assert_allclose(share, probabilities[row], atol=0.01)
        assert share[probabilities[row] == 0] == 0
