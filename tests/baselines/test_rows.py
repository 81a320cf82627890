import numpy as np
from baseline_data import as_csr, random_rows

from piavae_jax.baselines.rows import as_matrix, gram_matrix


def test_the_matrix_is_the_rows():
    rows = random_rows(7, 5)
    np.testing.assert_array_equal(as_matrix(as_csr(rows), 5).toarray(), rows)


def test_the_gram_matrix_counts_users_in_common():
    rows = random_rows(30, 1_100, density=0.05)  # more items than one block
    gram = gram_matrix(as_csr(rows), 1_100)
    assert gram.dtype == np.float32
    np.testing.assert_array_equal(gram, rows.T @ rows)


def test_rows_may_be_read_only():
    rows = as_csr(random_rows(7, 5))
    for array in rows:
        array.flags.writeable = False  # as a map of a file is
    np.testing.assert_array_equal(gram_matrix(rows, 5), random_rows(7, 5).T @ random_rows(7, 5))
