import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from piavae_jax.data import csr as csr_module
from piavae_jax.data.csr import from_pairs, item_counts

PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), unique=True)


@given(PAIRS)
def test_rows_hold_their_items_in_order(pairs):
    rows, items = np.array(pairs, np.int32).reshape(-1, 2).T
    csr = from_pairs(rows, items, num_rows=12)
    assert csr.num_rows == 12
    assert csr.nnz == len(pairs)
    for row in range(12):
        assert csr.row(row).tolist() == sorted(item for owner, item in pairs if owner == row)
    np.testing.assert_array_equal(csr.lengths, np.bincount(rows, minlength=12))
    np.testing.assert_array_equal(item_counts(csr, 51), np.bincount(items, minlength=51))
    assert (csr.indptr.dtype, csr.indices.dtype) == (np.int64, np.int32)


def test_items_are_counted_in_blocks(monkeypatch):
    monkeypatch.setattr(csr_module, "_BLOCK", 3)
    rows = from_pairs(np.array([0, 0, 1, 1, 2, 2, 2]), np.array([0, 4, 1, 4, 0, 2, 4]), num_rows=3)
    np.testing.assert_array_equal(item_counts(rows, 6), [2, 1, 1, 0, 3, 0])
