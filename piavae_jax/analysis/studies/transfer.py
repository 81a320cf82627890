"""Theorem 2.3 on trained runs: whether steps on one user help others, and how near those must be."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import polars as pl

from piavae_jax import pictures
from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.needs import POSTERIOR
from piavae_jax.analysis.harness.study import Findings, Format, Picture, Study, Table
from piavae_jax.analysis.measurements import TransferMeasurement, measure_transfer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BY_DISTANCE, THEOREM = "transfer", "theorem"
_BINS = 10


def run(material: Material) -> Findings:
    """Take SGD steps on users and watch the losses of others."""
    measured = {
        label: measure_transfer(subject, material.dataset.train, key=jax.random.key(material.seed))
        for label, subject in material.track(material.subjects.items(), "steps on a thousand pairs of users")
    }
    binned = pl.concat([_with_run(label, by_distance(found)) for label, found in measured.items()])
    theorem = pl.concat([_with_run(label, summarize(found)) for label, found in measured.items()])
    caption = (
        "Pairs of training users from nearest neighbours to the farthest, ten bins of equal size. Left: gain of u by a "
        "step on v, over that by a step on u itself, mean and standard error. Middle: share of pairs in which the loss "
        "of u fell. Right: content mismatch over ||g_u||, mean; the theorem promises a gain only below 1, and then "
        "asks more."
    )
    title = f"A step on user v changes the loss of user u of {material.dataset.name} (Theorem 2.3)"
    tables = {
        BY_DISTANCE: Table("Transfer by latent distance", binned, _FORMATS),
        THEOREM: Table("What Theorem 2.3 says of these pairs", theorem, _FORMATS),
    }
    sentences = [sentence for label, found in measured.items() for sentence in _describe(label, found)]
    return Findings(
        (*sentences, *_DEFINITIONS), tables, {BY_DISTANCE: Picture(caption, lambda: draw(binned, title=title))}
    )


TRANSFER = Study("theorem2.3", "Whose steps help whom (Theorem 2.3)", (POSTERIOR,), run)
_FORMATS: Mapping[str, Format] = {
    **dict.fromkeys(("helped", "within_bound", "inside_radius", "content_mismatch_too_large"), ".1%"),
    **dict.fromkeys(
        ("distance", "relative_mismatch", "w2", "lipschitz", "rank_correlation", "first_order_correlation"), ".2f"
    ),
    "input_distance": ".0f",
}
_DEFINITIONS = (
    "The gain is <g_u, g_v> / ||g_u||^2 over gradients of the decoder's parameters; the step is SGD with eta 1e-4 on "
    "the expected loss of v, sixteen samples of z, and the change of the loss of u is measured with others.",
    "L is the largest ratio seen over all pairs and by power iteration at the users with the longest rows: the true "
    "constant is no smaller, and so the bound no tighter. W1 is bounded above by the coupling that W2 is optimal for.",
)


def _with_run(label: str, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.lit(label).alias("run"), pl.all())


def by_distance(found: TransferMeasurement) -> pl.DataFrame:
    """Ten bins of equal numbers of pairs, `distance` in units of the mean W2 of random pairs."""
    mismatch = pl.col("content_mismatch") / pl.col("gradient_norm").clip(1e-12)
    binned = found.pairs.sort("w2").with_columns(bin=pl.int_range(pl.len()) * _BINS // pl.len())
    return (
        binned.group_by("bin", maintain_order=True)
        .agg(
            distance=pl.col("w2").mean() / found.typical_w2,
            w2=pl.col("w2").mean(),
            input_distance=pl.col("input_distance").mean(),
            pairs=pl.len(),
            gain=pl.col("gain").mean(),
            gain_standard_error=pl.col("gain").std() / pl.len().sqrt(),
            cosine=pl.col("cosine").mean(),
            helped=(pl.col("change") < 0).mean(),
            relative_mismatch=mismatch.mean(),
        )
        .drop("bin")
    )


def summarize(found: TransferMeasurement) -> pl.DataFrame:
    """One line: does the bound hold, and does the theorem's condition ever apply?"""
    return found.pairs.select(
        pairs=pl.len(),
        helped=(pl.col("change") < 0).mean(),
        within_bound=(pl.col("change") <= pl.col("bound")).mean(),
        content_mismatch_too_large=(pl.col("content_mismatch") >= pl.col("gradient_norm")).mean(),
        inside_radius=(pl.col("w1") < pl.col("radius")).mean(),
        lipschitz=pl.lit(found.lipschitz),
        rank_correlation=pl.corr("w2", "gain", method="spearman"),
        first_order_correlation=pl.corr("change", "first_order"),
    )


def _describe(label: str, found: TransferMeasurement) -> list[str]:
    bins, (line,) = by_distance(found), summarize(found).iter_rows(named=True)
    near, farther = bins.row(0, named=True), bins[_BINS // 2 :]
    far = farther.select(pl.col("helped", "gain").mean()).row(0, named=True)
    return [
        f"{label}: among the nearest tenth of the pairs a step on v lowers the loss of u in {near['helped']:.0%}, by "
        f"{near['gain']:.3f} of what a step on u brings; in the farther half in {far['helped']:.0%}, by "
        f"{far['gain']:.3f}. Rank correlation of gain and W2: {line['rank_correlation']:.2f}.",
        f"{label}: the theorem's bound holds for {line['within_bound']:.1%} of {line['pairs']:,} pairs, its condition "
        f"for a gain for {line['inside_radius']:.1%}: in {line['content_mismatch_too_large']:.1%} the content mismatch "
        f"alone exceeds ||g_u||, so that the sharing radius is zero. {line['helped']:.0%} gain all the same.",
    ]


def draw(binned: pl.DataFrame, *, title: str) -> "Figure":
    """Three panels over latent distance, a line for each run."""
    figure = pictures.new_figure(13.2, 4.5, title=title)
    gains, shares, mismatches = figure.subplots(1, 3)
    for number, (label, rows) in enumerate(_by_run(binned)):
        look: dict[str, Any] = {
            "color": pictures.COLOURS[number % 7],
            "marker": pictures.MARKERS[number % 7],
            "markersize": 5,
            "label": label,
        }
        gains.errorbar(rows["distance"], rows["gain"], yerr=rows["gain_standard_error"], capsize=2.5, **look)
        shares.plot(rows["distance"], rows["helped"], **look)
        mismatches.plot(rows["distance"], rows["relative_mismatch"], **look)
    gains.axhline(0, color="0.3", linewidth=0.8)
    gains.set(title="gain of u, step on u itself = 1")
    shares.axhline(0.5, color="0.3", linewidth=0.8, linestyle=":")
    shares.set(title="pairs in which u gains", ylim=(0, 1))
    shares.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    mismatches.axhline(1, color="0.3", linewidth=0.8, linestyle=":")
    mismatches.text(
        0.02, 0.02, "below the line: the theorem can speak", transform=mismatches.transAxes, **pictures.NOTE
    )
    mismatches.set(title="content mismatch over $\\|g_u\\|$", ylim=(0, None))
    for axes in (gains, shares, mismatches):
        axes.set_xlabel("W2 of the posteriors, mean of random pairs = 1")
        axes.set_xlim(0, None)
        axes.grid(axis="y")
    gains.legend()
    return figure


def _by_run(frame: pl.DataFrame) -> list[tuple[str, dict[str, np.ndarray]]]:
    parts = frame.partition_by("run", maintain_order=True)
    return [(part["run"][0], {name: part[name].to_numpy() for name in part.columns if name != "run"}) for part in parts]
