"""Pairs of users to compare."""

import jax
import numpy as np

from piavae_jax.errors import UserError


def random_pairs(num_users: int, count: int, *, key: jax.Array) -> np.ndarray:
    """Draw ordered pairs of two different users, evenly and with replacement.

    Args:
      num_users: U, at least 2.
      count: P.
      key: a PRNG key, consumed here.

    Returns:
      int64[P, 2].

    Raises:
      UserError: there are fewer than two users.
    """
    if num_users < 2:
        raise UserError(f"pairs need at least 2 users, got {num_users}; pass more rows")
    first_key, second_key = jax.random.split(key)
    first = np.asarray(jax.random.randint(first_key, (count,), 0, num_users), np.int64)
    step = np.asarray(jax.random.randint(second_key, (count,), 1, num_users), np.int64)
    return np.stack([first, (first + step) % num_users], axis=1)


def spread_pairs(distances: np.ndarray, count: int, *, key: jax.Array) -> np.ndarray:
    """Choose pairs that cover a range of distances evenly, where random ones would crowd at its middle.

    Args:
      distances: float[C], of candidates.
      count: P, at most; the same number of each of 20 equal parts of the range, as far as there are any.
      key: a PRNG key, consumed here.

    Returns:
      int64[<= P], sorted positions among the candidates.
    """
    parts = 20
    edges = np.linspace(distances.min(), distances.max(), parts + 1)[1:-1]
    part = np.digitize(distances, edges)
    shuffled = np.asarray(jax.random.permutation(key, len(distances)))
    chosen = [shuffled[part[shuffled] == number][: count // parts] for number in range(parts)]
    return np.sort(np.concatenate(chosen))
