"""Binary user-item rows in compressed sparse row form."""

from typing import NamedTuple

import numpy as np

_BLOCK = 2**22


class CSR(NamedTuple):
    """Binary rows: row `u` holds the items `indices[indptr[u]:indptr[u + 1]]`, ascending and without repeats."""

    indptr: np.ndarray
    """int64[U + 1]."""
    indices: np.ndarray
    """int32[nnz]."""

    @property
    def num_rows(self) -> int:
        """U."""
        return len(self.indptr) - 1

    @property
    def nnz(self) -> int:
        """Interactions in all rows."""
        return len(self.indices)

    @property
    def lengths(self) -> np.ndarray:
        """int64[U], interactions of each row."""
        return np.diff(self.indptr)

    def row(self, index: int) -> np.ndarray:
        """int32[n], the items of one row."""
        return self.indices[self.indptr[index] : self.indptr[index + 1]]


def from_pairs(rows: np.ndarray, items: np.ndarray, *, num_rows: int) -> CSR:
    """Build rows from (row, item) pairs in any order; the pairs must be distinct.

    Args:
      rows: int[nnz], each in [0, num_rows).
      items: int[nnz].
      num_rows: U.
    """
    keys = rows.astype(np.int64)
    keys <<= 32
    keys |= items
    keys.sort()  # plain integers sort ten times faster than `lexsort` orders two columns
    indptr = np.searchsorted(keys, np.arange(num_rows + 1, dtype=np.int64) << 32)
    return CSR(indptr.astype(np.int64), keys.astype(np.int32))  # the lower half of each key


def item_counts(rows: CSR, num_items: int) -> np.ndarray:
    """int64[I], number of rows that hold each item: its popularity."""
    counts = np.zeros(num_items, np.int64)
    for start in range(0, rows.nnz, _BLOCK):  # `bincount` widens what it counts, and the rows may be larger than memory
        counts += np.bincount(rows.indices[start : start + _BLOCK], minlength=num_items)
    return counts
