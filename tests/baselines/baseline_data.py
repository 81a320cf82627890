"""Rows for tests of baselines: dense, as CSR, and a data set of communities that a recommender can find."""

import numpy as np

from piavae_jax.data import Shape, StrongGeneralization, clean, generate
from piavae_jax.data.csr import from_pairs


def random_rows(num_users, num_items, *, density=0.3, seed=0):
    """float64[U, I] of zeros and ones; the first user has nothing, the last item nobody."""
    rows = (np.random.default_rng(seed).random((num_users, num_items)) < density).astype(np.float64)
    rows[0] = rows[:, -1] = 0
    return rows


def as_csr(rows):
    return from_pairs(*np.nonzero(rows), num_rows=len(rows))


def communities_dataset():
    """600 users and 120 items: 480 users to train on, 60 of validation and 60 of test."""
    shape = Shape(
        users=600, items=120, interactions=9_000, communities=6, communities_per_user=2, popularity_offset=20.0
    )
    events = clean(generate(shape, seed=1).interactions)
    return StrongGeneralization(heldout_users=60).split(events, name="communities")
