"""Readers of published data sets and of general tables: a path in, `Interactions` out."""

from piavae_jax.data.readers.movielens import read_movielens
from piavae_jax.data.readers.msd import read_msd
from piavae_jax.data.readers.netflix import read_netflix
from piavae_jax.data.readers.npz import read_npz
from piavae_jax.data.readers.table import read_table

__all__ = ["read_movielens", "read_msd", "read_netflix", "read_npz", "read_table"]
