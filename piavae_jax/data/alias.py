"""Constant-time draws from discrete distributions (Walker's alias method, built by prefix sums).

Source: A. J. Walker, "An efficient method for generating discrete random variables with general distributions", ACM
TOMS 3(3), 1977; the construction without a loop over outcomes is the sweep of L. Hübschle-Schneider and P. Sanders,
"Parallel weighted random sampling", ACM TOMS 48(3), 2022.
"""

from typing import NamedTuple

import numpy as np


class AliasTables(NamedTuple):
    """C distributions over I outcomes. A slot is drawn evenly; it yields its own number or else its alias."""

    accept: np.ndarray
    """float64[C * I], chance that the slot yields its own number."""
    alias: np.ndarray
    """int32[C * I]."""
    size: int
    """I."""

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """int64[n], an outcome from distribution `rows[j]` (int[n]) for each j, independently."""
        position = rng.random(len(rows)) * self.size
        slot = position.astype(np.int64)
        flat = rows.astype(np.int64) * self.size + slot
        return np.where(position - slot < self.accept[flat], slot, self.alias[flat])


def build(probabilities: np.ndarray) -> AliasTables:
    """Tables for `probabilities`, float64[C, I], whose rows sum to 1."""
    tables = [_build_one(row) for row in probabilities]
    accept, alias = (np.concatenate(column) for column in zip(*tables, strict=True))
    return AliasTables(accept, alias, probabilities.shape[1])


def _build_one(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Large outcomes in turn fill the slots of small ones; what a large one then lacks comes from the next."""
    mass = probabilities * len(probabilities)
    small, large = np.flatnonzero(mass < 1), np.flatnonzero(mass >= 1)
    deficit, excess = np.cumsum(1 - mass[small]), np.cumsum(mass[large] - 1)
    accept = np.minimum(mass, 1.0)
    alias = np.arange(len(mass), dtype=np.int32)
    if not len(small) or not len(large):  # even, up to rounding
        return accept, alias
    donor = np.searchsorted(excess, np.append(0.0, deficit[:-1]), side="right")
    alias[small] = large[np.minimum(donor, len(large) - 1)]
    exhausted = np.minimum(np.searchsorted(deficit, excess), len(small) - 1)
    accept[large[:-1]] = np.clip(1 + excess - deficit[exhausted], 0.0, 1.0)[:-1]
    alias[large[:-1]] = large[1:]
    return accept, alias
