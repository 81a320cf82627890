"""Models of rank D: a linear map from a user's row to D numbers, and one from there to the items."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from piavae_jax import sparse
from piavae_jax.linear import product
from piavae_jax.types import SparseBatch


def low_rank_scores(params: Mapping[str, jax.Array], batch: SparseBatch) -> jax.Array:
    """`x E W`.

    Args:
      params: `encoder`, E, float32[I, D], and `decoder`, W, float32[D, I].
      batch: B users.

    Returns:
      float32[B, I]; zero for an empty row. O(N D + B I D).
    """
    encoder = params["encoder"]
    return product(
        sparse.weighted_row_sum(encoder, jnp.ones(batch.items.shape, encoder.dtype), batch), params["decoder"]
    )
