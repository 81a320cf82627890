"""Held-out users' rows on the device, in batches of one shape."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax.data.batches import DeviceRows, to_device
from piavae_jax.data.csr import CSR


class RowBatches(NamedTuple):
    """What `gather_batch` needs to go through all rows."""

    rows: DeviceRows
    order: jax.Array
    """int32[batches, B], row numbers; -1 pads the last batch."""
    capacity: int
    """N, the most interactions of a batch."""


def in_batches(rows: CSR, *, batch_size: int) -> RowBatches:
    """Copy V rows to the device and put them into batches of at most `batch_size`, in their order."""
    size = min(batch_size, rows.num_rows)
    users = np.arange(rows.num_rows, dtype=np.int32)
    order = np.pad(users, (0, -len(users) % size), constant_values=-1).reshape(-1, size)
    loads = np.where(order >= 0, rows.lengths[order], 0).sum(axis=1)
    return RowBatches(to_device(rows), jnp.asarray(order), max(int(loads.max()), 1))
