"""Parameters for one item vocabulary, made of parameters for another; pure, on the host."""

from typing import Any, NamedTuple

import jax
import numpy as np
import polars as pl
import scipy  # scipy.sparse loads at its first use
from jax.sharding import PartitionSpec

from piavae_jax.data.csr import CSR
from piavae_jax.evaluation import ITEM_AXIS

_ABOUT_USERS = "users"  # CDAE's nodes: those of other users mean nothing here


class ItemMapping(NamedTuple):
    """Where each of I items gets its parameters from: S from the same item, P from neighbours, the others afresh."""

    shared: np.ndarray
    """int64[S], ascending: items that both vocabularies have."""
    sources: np.ndarray
    """int64[S], their indices in the old vocabulary."""
    placed: np.ndarray
    """int64[P], ascending: new items that start from their neighbours."""
    weights: Any
    """SciPy sparse float64[P, S]: what share each shared item has in them. Every row sums to 1."""


def match_items(item_ids: pl.Series, old_ids: pl.Series) -> ItemMapping:
    """Match two vocabularies by their external ids; new items start afresh. Ids of two types have nothing in common."""
    if item_ids.dtype != old_ids.dtype:
        old_ids = old_ids.clear().cast(item_ids.dtype)
    old = pl.DataFrame({"id": old_ids}).with_row_index("source")
    found = pl.DataFrame({"id": item_ids}).join(old, on="id", how="left", maintain_order="left")["source"]
    shared = found.is_not_null().arg_true().to_numpy().astype(np.int64)
    sources = found.drop_nulls().to_numpy().astype(np.int64)
    none = np.empty(0, np.int64)
    return ItemMapping(shared, sources, none, scipy.sparse.csr_array((0, len(shared)), dtype=np.float64))


def place_by_neighbours(mapping: ItemMapping, train: CSR, num_items: int) -> ItemMapping:
    """Let new items start from the shared items that training users have together with them.

    The weight of a neighbour is the share of its co-occurrences, `C_ij / sum_j C_ij` with `C = X^T X`. A new item
    without any starts afresh.

    Args:
      mapping: of `match_items`.
      train: training rows X, of the new vocabulary.
      num_items: I.
    """
    new = np.setdiff1d(np.arange(num_items), mapping.shared)
    ones = np.ones(train.nnz, np.int32)
    rows = scipy.sparse.csr_array((ones, train.indices, train.indptr), shape=(train.num_rows, num_items))
    counts = scipy.sparse.csr_array(rows[:, new].T @ rows[:, mapping.shared])
    totals = counts.sum(axis=1)
    placed = totals > 0
    weights = scipy.sparse.diags_array(1.0 / totals[placed]) @ counts[placed]
    return mapping._replace(placed=new[placed], weights=scipy.sparse.csr_array(weights))


def map_params(old: dict, fresh: dict, specs: dict, mapping: ItemMapping) -> dict:
    """Parameters for the new vocabulary.

    Along items each row (or column) comes from where `mapping` says, all else is copied from `old`. An entry that `old`
    does not have, and what is about single users, stays fresh; an entry that only `old` has is left out.

    Args:
      old: a trained model's parameters, NumPy arrays.
      fresh: those that the new model would start with, of the same body.
      specs: which dimensions of `fresh` run over items (`layout.item_specs`).
      mapping: of the items.

    Returns:
      A tree of new arrays with the structure, shapes and types of `fresh`.
    """

    def carry(spec: PartitionSpec, start: np.ndarray, trained: np.ndarray) -> np.ndarray:
        if ITEM_AXIS not in spec:
            return np.array(trained, start.dtype)
        return _carry_items(trained, start, spec.index(ITEM_AXIS), mapping)

    return {
        entry: jax.tree.map(carry, specs[entry], start, old[entry])
        if entry in old and entry != _ABOUT_USERS
        else jax.tree.map(np.array, start)
        for entry, start in fresh.items()
    }


def _carry_items(trained: np.ndarray, start: np.ndarray, axis: int, mapping: ItemMapping) -> np.ndarray:
    result = np.moveaxis(np.array(start), axis, 0)
    rows = np.moveaxis(trained, axis, 0)[mapping.sources]
    result[mapping.shared] = rows
    means = mapping.weights @ rows.reshape(len(rows), -1).astype(np.float64)
    result[mapping.placed] = means.reshape(len(mapping.placed), *rows.shape[1:])
    return np.ascontiguousarray(np.moveaxis(result, 0, axis))
