"""Array containers that every part of the library shares.

Letters: B users in a batch, I items, D latent size, H hidden size, K top-k, N padded number of interactions in a batch.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import jax

Params: TypeAlias = Mapping[str, Any]
"""A tree of float32 arrays: `encoder`, `decoder` and, with PIA, `anchors: [I, D]`."""


class SparseBatch(NamedTuple):
    """B users' binary rows as a padded list of N interactions.

    Slots past the last interaction are padding: there `rows == B` and `items == 0`, so `rows < B` tells real
    interactions, and a segment sum over B segments drops the rest.
    """

    items: jax.Array
    """int32[N], item of each interaction."""
    rows: jax.Array
    """int32[N], row of each interaction, non-decreasing; B marks padding."""
    lengths: jax.Array
    """int32[B], interactions of each row, `n` in the equations."""
    users: jax.Array
    """int32[B], a number that identifies the user of each row; random draws are addressed by it."""
    row_mask: jax.Array
    """bool[B], False for rows that only pad the batch."""


Batch: TypeAlias = SparseBatch | jax.Array
"""Users' rows: a `SparseBatch`, or dense binary rows `[B, I]` for research code."""


class SparseInput(NamedTuple):
    """What the encoder sees of a sparse batch: one weight for each interaction, zero where masked or padding."""

    batch: SparseBatch
    values: jax.Array
    """float32[N]."""


EncoderInput: TypeAlias = SparseInput | jax.Array
"""The encoder's input: a `SparseInput`, or dense weighted rows float32[B, I]."""


class FactoredLogits(NamedTuple):
    """A decoder's logits before they are multiplied out to [B, I]: `features @ kernel + bias`."""

    features: jax.Array
    """float32[B, H], the last hidden layer."""
    kernel: jax.Array
    """float32[H, I]."""
    bias: jax.Array
    """float32[I]."""


class Posterior(NamedTuple):
    """The diagonal Gaussian q(z | x_h) of each user."""

    mean: jax.Array
    """float32[B, D]."""
    logvar: jax.Array
    """float32[B, D], natural logarithm of the variance."""
