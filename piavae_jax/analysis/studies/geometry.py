"""Lemma 2.4 and Eq. 4-6 on trained runs: latent distances beside those of the rows, and beside what the KL allows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import numpy as np
import polars as pl

from piavae_jax import pictures
from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.needs import POSTERIOR
from piavae_jax.analysis.harness.study import Findings, Format, Picture, Study, Table
from piavae_jax.analysis.measurements import GeometryMeasurement, measure_geometry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DISTANCES, BOUNDS = "distances", "bounds"
_BINS = 20


def run(material: Material) -> Findings:
    """Measure random pairs of training users in each run."""
    measured = {
        label: measure_geometry(subject, material.dataset.train, key=jax.random.key(material.seed))
        for label, subject in material.track(material.subjects.items(), "distances of 100,000 pairs of users")
    }
    distances = pl.concat([_with_run(label, by_input_distance(found.pairs)) for label, found in measured.items()])
    bounds = pl.concat([_with_run(label, summarize(found)) for label, found in measured.items()])
    caption = (
        "Random pairs of training users, clean input. Left: W2 of the posteriors by l1 distance of the rows, median "
        "and 5 to 95 %; dashed, what Lemma 2.4 allows with the largest ratio seen. Right: W2 over the bound of "
        "Eq. 4, which no pair can exceed."
    )
    title = f"Input and latent distances of users of {material.dataset.name} (Lemma 2.4, Eq. 4)"
    tables = {
        DISTANCES: Table("Latent distance by input distance", distances, _FORMATS),
        BOUNDS: Table("The bounds", bounds, _FORMATS),
    }
    picture = Picture(caption, lambda: draw(distances, measured, title=title))
    return Findings(
        (*(_describe(label, found) for label, found in measured.items()), *_DEFINITIONS), tables, {DISTANCES: picture}
    )


GEOMETRY = Study("geometry", "How latent distance follows input distance (Lemma 2.4, Theorem 2.5)", (POSTERIOR,), run)
_FORMATS: Mapping[str, Format] = {"input_distance": ".0f", "overlap": ".1e", "gap": ".1e", "gap_if_equal": ".1f"}
_DEFINITIONS = (
    "L is the largest W2 / l1 over the random pairs and over users beside themselves less one item; the lemma's own "
    "constant, a maximum over all rows there could be, is no smaller.",
    "The compromise gap is Eq. 3's, for the multinomial likelihood, in nats, a mean over 2,000 of the pairs.",
)


def _with_run(label: str, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.lit(label).alias("run"), pl.all())


def by_input_distance(pairs: pl.DataFrame) -> pl.DataFrame:
    """Twenty bins of equal numbers of pairs."""
    binned = pairs.sort("input_distance").with_columns(bin=pl.int_range(pl.len()) * _BINS // pl.len())
    return (
        binned.group_by("bin", maintain_order=True)
        .agg(
            pl.col("input_distance").mean(),
            w2=pl.col("w2").median(),
            low=pl.col("w2").quantile(0.05),
            high=pl.col("w2").quantile(0.95),
        )
        .drop("bin")
    )


def summarize(found: GeometryMeasurement) -> pl.DataFrame:
    """One line."""
    of_pairs = found.pairs.select(
        lipschitz=pl.lit(found.lipschitz),
        median_ratio=pl.col("ratio").median(),
        rank_correlation=pl.corr("input_distance", "w2", method="spearman"),
        mean_w2=pl.lit(found.mean_w2),
        mean_bound=pl.lit(found.mean_bound),
        mean_w2_masked=pl.lit(found.mean_w2_masked),
        mean_bound_masked=pl.lit(found.mean_bound_masked),
        largest_share_of_bound=(pl.col("w2") / pl.col("bound")).max(),
        w1_known_within=(1 - pl.col("w1_lower") / pl.col("w2")).fill_nan(None).mean(),
        overlap=pl.col("overlap").mean(),
        gap=pl.col("gap").mean(),
        gap_if_equal=pl.col("most").mean(),
    )
    return of_pairs.with_columns(median_one_item=pl.lit(found.one_item["ratio"].median()))


def _describe(label: str, found: GeometryMeasurement) -> str:
    (line,) = summarize(found).iter_rows(named=True)
    return (
        f"{label}: one item less moves a user by {line['median_one_item']:.2f} (median), random pairs by "
        f"{line['median_ratio']:.3f} an item; L is at least {line['lipschitz']:.2f}. Rank correlation of l1 and W2: "
        f"{line['rank_correlation']:.2f}. Mean W2 {line['mean_w2']:.2f}, at most {line['mean_bound']:.2f} by Eq. 6 "
        f"(masked: {line['mean_w2_masked']:.2f}, {line['mean_bound_masked']:.2f}); no pair comes above "
        f"{line['largest_share_of_bound']:.0%} of its bound. W1 is known within {line['w1_known_within']:.1%}. The "
        f"compromise gap is {line['gap']:.1e} of the {line['gap_if_equal']:.0f} nats that equal posteriors would pay."
    )


def draw(distances: pl.DataFrame, measured: Mapping[str, GeometryMeasurement], *, title: str) -> "Figure":
    """Two panels."""
    figure = pictures.new_figure(11.2, 4.7, title=title)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    for number, (label, found) in enumerate(measured.items()):
        color, rows = pictures.COLOURS[number % 7], distances.filter(run=label)
        at = rows["input_distance"].to_numpy()
        left.plot(
            at, rows["w2"].to_numpy(), color=color, marker=pictures.MARKERS[number % 7], markersize=4, label=label
        )
        left.fill_between(at, rows["low"].to_numpy(), rows["high"].to_numpy(), color=color, alpha=0.15, linewidth=0)
        left.plot(at, found.lipschitz * at, color=color, linestyle="--", linewidth=1)
        share = (found.pairs["w2"] / found.pairs["bound"]).to_numpy()
        right.hist(share, bins=np.linspace(0, 1, 61), density=True, histtype="step", color=color, linewidth=1.6)
    left.set(xscale="log", yscale="log", xlabel="l1 distance of the rows, items", ylabel="W2 of the posteriors")
    left.set_title("farther rows, farther posteriors; dashed: L times l1")
    pictures.label_counts(left.xaxis)
    pictures.label_counts(left.yaxis)
    left.legend(loc="upper left")
    right.axvline(1, color="0.3", linewidth=0.8, linestyle=":")
    right.set(xlabel="W2 over its bound by KL", xlim=(0, 1.02), yticks=[], title="share of the transport bound")
    right.spines["left"].set_visible(False)
    return figure
