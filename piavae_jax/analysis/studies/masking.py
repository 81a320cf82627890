"""Theorem 2.6 on the data: how masks change the distance of real pairs of users, and how much the bounds say of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import numpy as np
import polars as pl

from piavae_jax import pictures
from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.needs import RUNS
from piavae_jax.analysis.harness.study import Findings, Format, Picture, Study, Table
from piavae_jax.analysis.input_distance import row_overlap
from piavae_jax.analysis.measurements import masked_pairs, masking_curves
from piavae_jax.analysis.pairs import random_pairs
from piavae_jax.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES, PAIRS = "masking", "pairs"
_PAIRS, _KEEP_PROB, _VACUOUS = 2_000, 0.5, 0.01
_ONE_PROBABILITY = ("bernoulli", "complementary")
"""Masks that keep all items with `mask.keep_prob`."""
_FEWEST = np.array([0, 1, 2, 3, 5, 9, 17, 33, 65])
"""Shared items of each class of pairs."""


def run(material: Material) -> Findings:
    """Compare the bounds with the exact probabilities on random pairs of training users."""
    rows, key = material.dataset.train, jax.random.key(material.seed)
    keep_prob = _keep_prob(material)
    pair_key, draw_key = jax.random.split(key)
    overlap = row_overlap(rows, random_pairs(rows.num_rows, _PAIRS, key=pair_key))
    related = overlap.overlaps
    if not related.any():
        raise UserError(f"none of {len(related):,} random pairs of {material.dataset.name} shares an item")
    h, s = (int(np.median(part[related])) for part in (overlap.distance, overlap.shared))
    curves = masking_curves(h, s, keep_prob=keep_prob, key=draw_key)
    pairs = masked_pairs(overlap, keep_prob=keep_prob)
    by_shared = summarize(pairs)
    caption = (
        f"Masks that keep an item with probability {keep_prob:g}. Left: the masked distance of the median pair that "
        "shares an item, exact, simulated, and between the theorem's bounds. Right: the exact probability that a pair "
        "comes below its mean masked distance, and the bounds of coming below and not below, medians by shared items."
    )
    title = f"Masked distance of two users of {material.dataset.name} (Theorem 2.6)"
    tables = {
        CURVES: Table(f"A pair with h = {h}, s = {s}, keep_prob {keep_prob:g}", curves, _FORMATS),
        PAIRS: Table("Pairs at their mean masked distance, medians by shared items", by_shared, _FORMATS),
    }
    picture = Picture(caption, lambda: draw(curves, by_shared, h=h, s=s, title=title))
    return Findings(tuple(_sentences(pairs, rows.lengths, keep_prob)), tables, {CURVES: picture})


MASKING = Study("theorem2.6", "What masks do to the distance of users (Theorem 2.6)", (RUNS,), run)
_FORMATS: Mapping[str, Format] = {
    **dict.fromkeys(("contraction_bound", "expansion_bound", "exact", "closer", "farther"), ".2g"),
    **dict.fromkeys(("expansion_ceiling", "simulated"), ".3f"),
}


def _keep_prob(material: Material) -> float:
    """That of the first run that masks with one probability."""
    masks = (run.config.mask for run in material.runs.values())
    probabilities = (mask.keep_prob for mask in masks if mask.kind in _ONE_PROBABILITY)
    return next((one for one in probabilities if one < 1), _KEEP_PROB)


def summarize(pairs: pl.DataFrame) -> pl.DataFrame:
    """Medians by shared items, in classes of about equal ratio."""
    classes = _FEWEST[np.digitize(pairs["s"].to_numpy(), _FEWEST) - 1]
    medians = pl.col("h", "s", "closer", "contraction_bound", "farther", "expansion_bound").median()
    return (
        pairs.with_columns(at_least=pl.Series(classes))
        .group_by("at_least")
        .agg(pl.len().alias("pairs"), medians)
        .sort("at_least")
    )


def _sentences(pairs: pl.DataFrame, lengths: np.ndarray, keep_prob: float) -> list[str]:
    (line,) = pairs.select(
        closer=pl.col("closer").median(),
        no_contraction=(pl.col("contraction_bound") < _VACUOUS).mean(),
        no_expansion=(pl.col("expansion_bound") < _VACUOUS).mean(),
        apart=(pl.col("mean") > pl.col("h")).mean(),
        clean=pl.col("h").mean(),
        masked=pl.col("mean").mean(),
    ).iter_rows(named=True)
    own = 2 * keep_prob * (1 - keep_prob) * np.median(lengths)
    return [
        f"At the mean masked distance, where coming nearer has a probability of {line['closer']:.2f}, the contraction "
        f"bound says less than {_VACUOUS:.0%} for {line['no_contraction']:.0%} of random pairs, that of expansion for "
        f"{line['no_expansion']:.0%}.",
        f"Masks push {line['apart']:.1%} of the pairs apart on average, those with 2 rho s > h; others come nearer, as "
        f"rows shorten: the mean distance falls from {line['clean']:.0f} to {line['masked']:.0f}.",
        f"Two masks put a user of the median length {own:.0f} items from itself on average.",
        "Both bounds are right. That of contraction needs every shared item to agree, (rho^2 + (1 - rho)^2)^s, and is "
        "halved by each one at rho 1/2; that of expansion counts shared items only and is zero where delta > s, though "
        "h items of one user alone are most of the distance. Contraction is meant against delta, not against the clean "
        "distance.",
    ]


def draw(curves: pl.DataFrame, by_shared: pl.DataFrame, *, h: int, s: int, title: str) -> "Figure":
    """Two panels."""
    figure = pictures.new_figure(11.2, 4.7, title=title)
    left, right = figure.subplots(1, 2)
    delta = curves["delta"].to_numpy()
    blue, red = pictures.COLOURS[:2]
    left.fill_between(
        delta,
        curves["contraction_bound"].to_numpy(),
        curves["expansion_ceiling"].to_numpy(),
        color="0.92",
        label="left open by the bounds",
    )
    left.plot(delta, curves["exact"].to_numpy(), color="black", label="exact")
    left.plot(
        delta[::8],
        curves["simulated"].to_numpy()[::8],
        color="black",
        linestyle="",
        marker="o",
        markersize=4,
        label="simulated",
    )
    left.plot(delta, curves["contraction_bound"].to_numpy(), color=blue, label="contraction bound")
    left.plot(delta, curves["expansion_ceiling"].to_numpy(), color=red, label="1 - expansion bound")
    left.axvline(h, color="0.5", linewidth=0.8, linestyle=":")
    left.text(h, 0.5, " clean distance", rotation=90, va="center", ha="right", **pictures.NOTE)
    left.set(xlabel="delta, items", ylabel="P(masked distance < delta)", title=f"one pair: h = {h}, s = {s}")
    left.legend(loc="center left", bbox_to_anchor=(0.07, 0.5), fontsize=8.5)
    at = by_shared["s"].to_numpy() + 0.5
    floor = 1e-12
    right.plot(at, by_shared["closer"].to_numpy(), color="black", marker="o", markersize=4, label="exact: nearer")
    for name, color, marker, text in (
        ("contraction_bound", blue, "s", "contraction bound"),
        ("expansion_bound", red, "^", "expansion bound"),
    ):
        values = by_shared[name].to_numpy()
        right.plot(at, np.maximum(values, floor), color=color, marker=marker, markersize=4, label=text)
    right.set(
        xscale="log",
        yscale="log",
        ylim=(floor / 2, 3),
        xlabel="shared items s, + 1/2",
        title="random pairs, delta = mean masked distance",
    )
    right.text(0.02, 0.05, "at the bottom: below 1e-12", transform=right.transAxes, **pictures.NOTE)
    right.legend(loc="center left", fontsize=8.5)
    return figure
