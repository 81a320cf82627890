"""Theorem 2.6: the distance of two users' rows under independent masks.

`D' = Y + Z` with `Y ~ Binomial(h, rho)`, items of one user that are kept, and `Z ~ Binomial(s, 2 rho (1 - rho))`,
shared items that one mask keeps and the other drops. All arguments broadcast: h the items of one user alone, s the
shared ones, `keep_prob` the paper's rho, delta a distance.
"""

from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binom

from piavae_jax.errors import UserError

Count: TypeAlias = int | np.ndarray
Number: TypeAlias = float | np.ndarray


def contraction_bound(h: Count, s: Count, *, keep_prob: Number, delta: Number) -> np.ndarray:
    """The lower bound of `P(D' < delta)`, `P(Z = 0) P(Y < delta)` (Theorem 2.6, Eq. 24).

    Raises:
      UserError: a probability is outside [0, 1], or a delta or count is out of range.
    """
    h, s, keep_prob, delta = _checked(h, s, keep_prob, delta)
    return binom.pmf(0, s, _split(keep_prob)) * binom.cdf(np.ceil(delta) - 1, h, keep_prob)


def expansion_bound(h: Count, s: Count, *, keep_prob: Number, delta: Number) -> np.ndarray:
    """The lower bound of `P(D' >= delta)`, `P(Z >= delta)` (Theorem 2.6, Eq. 25); 0 where `delta > s`.

    Raises:
      UserError: as `contraction_bound`.
    """
    h, s, keep_prob, delta = _checked(h, s, keep_prob, delta)
    return binom.sf(np.ceil(delta) - 1, s, _split(keep_prob)) + np.zeros_like(h, dtype=float)


def closer_probability(h: Count, s: Count, *, keep_prob: Number, delta: Number) -> np.ndarray:
    """`P(D' < delta)`, exact: the convolution that the proof of Theorem 2.6 starts from.

    `1 - closer_probability(...)` is what the expansion bound bounds. O(size x max s) time and memory.

    Raises:
      UserError: as `contraction_bound`.
    """
    h, s, keep_prob, delta = _checked(h, s, keep_prob, delta)
    z = np.arange(int(s.max(initial=0)) + 1)
    of_shared = binom.pmf(z, s[..., None], _split(keep_prob)[..., None])
    of_rest = binom.cdf(np.ceil(delta)[..., None] - 1 - z, h[..., None], keep_prob[..., None])
    return np.clip(np.sum(of_shared * of_rest, axis=-1), 0.0, 1.0)


def mean_masked_distance(h: Count, s: Count, *, keep_prob: Number) -> np.ndarray:
    """`E D' = rho h + 2 rho (1 - rho) s`: above h, the clean distance, where `2 rho s > h`.

    Raises:
      UserError: as `contraction_bound`.
    """
    h, s, keep_prob, _ = _checked(h, s, keep_prob, 1.0)
    return keep_prob * h + _split(keep_prob) * s


def simulate_masked_distance(h: int, s: int, *, keep_prob: float, draws: int, key: jax.Array) -> np.ndarray:
    """Draw D' with masks as training draws them, one bit an interaction of each user: a check on the formulas.

    Args:
      h: items of one user alone.
      s: shared items.
      keep_prob: the chance that a mask keeps an item.
      draws: M pairs of masks; O(M (h + s)) memory.
      key: a PRNG key, consumed here.

    Returns:
      int32[M].
    """
    kept = jax.random.bernoulli(key, keep_prob, (draws, h + 2 * s))
    alone, first, second = jnp.split(kept, [h, h + s], axis=1)
    return np.asarray(jnp.sum(alone, axis=1) + jnp.sum(first != second, axis=1))


def _split(keep_prob: np.ndarray) -> np.ndarray:
    """The chance that two masks disagree about an item."""
    return 2 * keep_prob * (1 - keep_prob)


def _checked(h: Count, s: Count, keep_prob: Number, delta: Number) -> tuple[np.ndarray, ...]:
    arrays = np.broadcast_arrays(h, s, np.asarray(keep_prob, float), np.asarray(delta, float))
    if np.any(arrays[0] < 0) or np.any(arrays[1] < 0):
        raise UserError(f"h and s must not be negative, got {h} and {s}; they count items")
    if not np.all((arrays[2] >= 0) & (arrays[2] <= 1)):
        raise UserError(f"keep_prob must be in [0, 1], got {keep_prob}; 1 masks nothing")
    if not np.all(arrays[3] > 0):
        raise UserError(f"delta must be positive, got {delta}; distances below it are what is asked for")
    return tuple(arrays)
