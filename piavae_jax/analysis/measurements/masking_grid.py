"""Theorem 2.6 on real pairs of users: its bounds, the exact probabilities, and what masks do on average."""

import jax
import numpy as np
import polars as pl

from piavae_jax.analysis.input_distance import RowOverlap
from piavae_jax.analysis.masked_distance import (
    closer_probability,
    contraction_bound,
    expansion_bound,
    mean_masked_distance,
    simulate_masked_distance,
)


def masked_pairs(overlap: RowOverlap, *, keep_prob: float) -> pl.DataFrame:
    """Theorem 2.6 where it has most to say: at the mean masked distance of each pair.

    Args:
      overlap: of P pairs; O(P max s) memory.
      keep_prob: the paper's rho.

    Returns:
      A line for each pair with different rows: `h`, `s`, `mean` (E D'), `closer` (P(D' < E D')) with its
      `contraction_bound`, `farther` (P(D' >= E D')) with its `expansion_bound`.
    """
    different = overlap.distance > 0
    h, s = overlap.distance[different], overlap.shared[different]
    mean = mean_masked_distance(h, s, keep_prob=keep_prob)
    closer = closer_probability(h, s, keep_prob=keep_prob, delta=mean)
    return pl.DataFrame(
        {
            "h": h,
            "s": s,
            "mean": mean,
            "closer": closer,
            "contraction_bound": contraction_bound(h, s, keep_prob=keep_prob, delta=mean),
            "farther": 1 - closer,
            "expansion_bound": expansion_bound(h, s, keep_prob=keep_prob, delta=mean),
        }
    )


def masking_curves(h: int, s: int, *, keep_prob: float, draws: int = 20_000, key: jax.Array) -> pl.DataFrame:
    """The distribution of the masked distance of one pair, with the bounds of Theorem 2.6.

    Args:
      h: items of one user alone.
      s: shared items.
      keep_prob: the paper's rho.
      draws: of the simulation.
      key: a PRNG key, consumed here.

    Returns:
      A line for each `delta` from 1 to h + s + 1: `exact` P(D' < delta), `contraction_bound` below it,
      `expansion_ceiling` (1 minus the expansion bound) above it, and `simulated`.
    """
    delta = np.arange(1, h + s + 2)
    drawn = np.sort(simulate_masked_distance(h, s, keep_prob=keep_prob, draws=draws, key=key))
    return pl.DataFrame(
        {
            "delta": delta,
            "exact": closer_probability(h, s, keep_prob=keep_prob, delta=delta),
            "contraction_bound": contraction_bound(h, s, keep_prob=keep_prob, delta=delta),
            "expansion_ceiling": 1 - expansion_bound(h, s, keep_prob=keep_prob, delta=delta),
            "simulated": np.searchsorted(drawn, delta) / draws,
        }
    )
