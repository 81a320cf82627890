"""Theorem 2.6 on real pairs of users: its bounds, the exact probabilities, and what masks do on average."""

from collections.abc import Sequence

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

_FEW = 200


def masking_grid(overlap: RowOverlap, keep_probs: Sequence[float]) -> pl.DataFrame:
    """Whether masks bring pairs of users nearer than they are, `delta = h`, for each keep probability.

    Args:
      overlap: of P pairs; the exact probability, which is costly, is that of the first 200 with different rows.
      keep_probs: the paper's rho, each in (0, 1].

    Returns:
      A line for each keep probability: `keep_prob`; medians over pairs of the `closer` probability `P(D' < h)`, its
      `contraction_bound`, the `farther` one `P(D' >= h)`, its `expansion_bound`; and `nearer_on_average`, the share of
      pairs whose mean masked distance is below h.
    """
    different = overlap.distance > 0
    h, s = overlap.distance[different][:_FEW], overlap.shared[different][:_FEW]
    lines = []
    for keep_prob in keep_probs:
        closer = closer_probability(h, s, keep_prob=keep_prob, delta=h)
        lines.append(
            {
                "keep_prob": keep_prob,
                "closer": np.median(closer),
                "contraction_bound": np.median(contraction_bound(h, s, keep_prob=keep_prob, delta=h)),
                "farther": np.median(1 - closer),
                "expansion_bound": np.median(expansion_bound(h, s, keep_prob=keep_prob, delta=h)),
                "nearer_on_average": np.mean(mean_masked_distance(h, s, keep_prob=keep_prob) < h),
            }
        )
    return pl.DataFrame(lines)


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
