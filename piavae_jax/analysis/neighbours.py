"""Who a user's nearest neighbours in latent space are, and whether they stay the same (section 2.4, drift)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax.errors import UserError
from piavae_jax.linear import product

_BLOCK = 1000


def nearest_neighbours(points: jax.Array, *, k: int) -> np.ndarray:
    """The k nearest other users of each user, by Euclidean distance; O(U^2 F) time, in blocks.

    Args:
      points: float32[U, F]: posterior means, or `w2_points` for the W2 distance.
      k: from 1 to U - 1.

    Returns:
      int32[U, k], nearest first.

    Raises:
      UserError: k is out of range.
    """
    count = len(points)
    if not 1 <= k < count:
        raise UserError(f"k must be from 1 to {count - 1}, the other users, got {k}")
    starts = range(0, count, _BLOCK)
    points = jnp.asarray(points)
    points = points - jnp.mean(points, axis=0, keepdims=True)  # near the origin, squares cancel less
    blocks = [_nearest(points, jnp.arange(start, min(start + _BLOCK, count)), k) for start in starts]
    return np.concatenate([np.asarray(block) for block in blocks])


@partial(jax.jit, static_argnums=2)
def _nearest(points: jax.Array, users: jax.Array, k: int) -> jax.Array:
    norms = jnp.sum(jnp.square(points), axis=-1)
    closeness = 2 * product(points[users], points.T) - norms[None, :]
    closeness = closeness.at[jnp.arange(len(users)), users].set(-jnp.inf)
    return jax.lax.top_k(closeness, k)[1]


def neighbour_overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The share of each user's k neighbours that two sets have in common, such as those of two masks or two epochs.

    Args:
      first: int[U, k], each row without repeats.
      second: int[U, k].

    Returns:
      float64[U] in [0, 1]; two sets drawn blindly share `k / (U - 1)` on average.
    """
    merged = np.sort(np.concatenate([first, second], axis=1), axis=1)
    return np.count_nonzero(merged[:, 1:] == merged[:, :-1], axis=1) / first.shape[1]
