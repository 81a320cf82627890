"""How far apart two users' rows are, and whether they share an item (section 2.2), on sparse rows."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from piavae_jax.baselines.rows import as_matrix
from piavae_jax.data.csr import CSR, from_pairs

_BLOCK = 2**22  # interactions compared at a time


class RowOverlap(NamedTuple):
    """What two binary rows have and do not have in common."""

    shared: np.ndarray
    """int64[P], `s = <x_u, x_v>`."""
    distance: np.ndarray
    """int64[P], `h = ||x_u - x_v||_1`: the items of one alone (Hamming)."""

    @property
    def overlaps(self) -> np.ndarray:
        """bool[P], `ov(x_u, x_v)`: whether there is a shared item."""
        return self.shared > 0


def row_overlap(rows: CSR, pairs: np.ndarray) -> RowOverlap:
    """Compare the rows of pairs of users; a million pairs of 100 items in seconds, and nothing of size U x I.

    Args:
      rows: U users' interactions.
      pairs: int[P, 2], row numbers.
    """
    matrix = as_matrix(rows, int(rows.indices.max(initial=-1)) + 1)
    shared = np.zeros(len(pairs), np.int64)
    for block in _blocks(rows.lengths[pairs].sum(axis=1)):
        both = matrix[pairs[block, 0]].multiply(matrix[pairs[block, 1]])
        shared[block] = np.diff(both.tocsr().indptr)
    return RowOverlap(shared, rows.lengths[pairs].sum(axis=1) - 2 * shared)


def _blocks(loads: np.ndarray) -> Iterator[slice]:
    """Consecutive slices of about `_BLOCK` interactions."""
    ends = np.searchsorted(np.cumsum(loads), np.arange(_BLOCK, loads.sum() + _BLOCK, _BLOCK)) + 1
    start = 0
    for end in np.unique(np.minimum(ends, len(loads))):
        yield slice(start, int(end))
        start = int(end)


def is_local(overlap: RowOverlap, delta: float) -> np.ndarray:
    """bool[P], whether each of a pair lies in the other's neighbourhood `N_delta` (Definition 2.1)."""
    return overlap.distance <= delta


def is_far_but_related(overlap: RowOverlap, delta: float) -> np.ndarray:
    """bool[P], whether a pair could carry a global signal: beyond delta, with a shared item (Definition 2.2)."""
    return (overlap.distance > delta) & overlap.overlaps


def neighbourhood(rows: CSR, user: int, delta: float) -> np.ndarray:
    """int64[*], the users of `N_delta(user)`, itself left out; O(nnz)."""
    others = np.arange(rows.num_rows)
    in_row = np.zeros(int(rows.indices.max(initial=-1)) + 1, bool)
    in_row[rows.row(user)] = True
    # A trailing zero, so that empty rows at the end have a place to start at.
    running = np.concatenate([[0], np.cumsum(in_row[rows.indices])])
    shared = running[rows.indptr[1:]] - running[rows.indptr[:-1]]
    distance = rows.lengths + rows.lengths[user] - 2 * shared
    return others[(distance <= delta) & (others != user)]


def drop_one_item(rows: CSR, *, seed: int) -> CSR:
    """The rows, each short of one item drawn evenly: the nearest rows that a user has, at distance 1.

    Empty rows stay empty.
    """
    drawn = (np.random.default_rng(seed).random(rows.num_rows) * rows.lengths).astype(np.int64)
    kept = np.ones(rows.nnz, bool)
    kept[(rows.indptr[:-1] + drawn)[rows.lengths > 0]] = False
    users = np.repeat(np.arange(rows.num_rows), rows.lengths)
    return from_pairs(users[kept], rows.indices[kept], num_rows=rows.num_rows)
