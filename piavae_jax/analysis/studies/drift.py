"""Proposition 3.2 on trained runs: how masks scatter users with PIA and without, beside the predicted factor."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import polars as pl

from piavae_jax import pictures
from piavae_jax.analysis.contraction import contraction_factor
from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.needs import POSTERIOR
from piavae_jax.analysis.harness.run_pairs import Pair, pairs_of
from piavae_jax.analysis.harness.study import Findings, Format, Picture, Study, Table
from piavae_jax.analysis.measurements import DriftMeasurement, measure_drift

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUNS, CONTRACTION = "drift", "contraction"
_CLASSES = 8


def run(material: Material) -> Findings:
    """Encode all training users under many masks with each run."""
    measured = {
        label: measure_drift(subject, material.dataset.train, key=jax.random.key(material.seed))
        for label, subject in material.track(material.subjects.items(), "training users under 16 masks")
    }
    runs = pl.concat(
        [summarize(found).select(pl.lit(label).alias("run"), pl.all()) for label, found in measured.items()]
    )
    tables = {RUNS: Table("Masks in the latent space of each run", runs, _FORMATS)}
    sentences = [_describe(label, line) for label, line in zip(measured, runs.iter_rows(named=True), strict=True)]
    twins = [pair for pair in pairs_of(material.runs) if pair.is_pia]
    if twins:
        weights = {pair.system: material.subjects[pair.system].anchor_weight for pair in twins}
        ratios = pl.concat([compare(pair, measured, weights[pair.system]) for pair in twins])
        tables[CONTRACTION] = Table("With PIA over without: Proposition 3.2", ratios, _FORMATS)
        sentences += [_judge(line) for line in ratios.iter_rows(named=True)]
    caption = (
        "Training users under the masks of training, by number of interactions. Left: trace of the posterior mean's "
        "variance over masks, over the variance between users. Middle: squared distance from the centroid of fitted "
        "anchors, likewise. Right: share of the 20 nearest users that two masks have in common."
    )
    title = f"How masks scatter users of {material.dataset.name} (Proposition 3.2)"
    picture = Picture(caption, lambda: draw(measured, title=title))
    return Findings((*sentences, *_DEFINITIONS), tables, {RUNS: picture})


DRIFT = Study("drift", "How masks scatter users, with PIA and without (Proposition 3.2)", (POSTERIOR,), run)
_FORMATS: Mapping[str, Format] = {
    **dict.fromkeys(("between_masks", "clean_masked"), ".1%"),
    **dict.fromkeys(("spread", "variance", "drift", "own_drift", "m", "L"), ".2f"),
    **dict.fromkeys(("predicted", "absolute", "relative", "relative_variance", "relative_drift"), ".3f"),
}
_DEFINITIONS = (
    "The centroid is that of anchors fitted to each frozen encoder alike, the minimum of Eq. 9, for a run without PIA "
    "has no anchors of its own; own_drift is from the trained ones.",
    "Relative values are over the variance of posterior means between users: latent spaces of different runs have "
    "different scales, which the proposition, about one space, does not mean. m and L are the medians of the extreme "
    "eigenvalues of the negative ELBO's Hessian in the posterior mean, of 24 users; a run with another prior than "
    "N(0, I), or a ranking loss, has none.",
)


def summarize(found: DriftMeasurement) -> pl.DataFrame:
    """One line of means over users."""
    return found.users.select(
        spread=pl.lit(found.spread),
        variance=pl.col("variance").mean(),
        relative_variance=pl.col("variance").mean() / found.spread,
        drift=pl.col("drift").mean(),
        relative_drift=pl.col("drift").mean() / found.spread,
        own_drift=pl.col("own_drift").mean(),
        between_masks=pl.col("between_masks").mean(),
        clean_masked=pl.col("clean_masked").mean(),
        m=pl.lit(None if found.curvature is None else float(np.median(found.curvature.smallest)), pl.Float64),
        L=pl.lit(None if found.curvature is None else float(np.median(found.curvature.largest)), pl.Float64),
    )


def compare(pair: Pair, measured: Mapping[str, DriftMeasurement], anchor_weight: float) -> pl.DataFrame:
    """Ratios of means over users, with PIA over without, beside what the proposition predicts of the latter's L, if it
    has one."""
    system, baseline = (next(summarize(measured[label]).iter_rows(named=True)) for label in pair[:2])
    curvature = measured[pair.baseline].curvature
    tau = math.nan if curvature is None else float(np.median(contraction_factor(curvature.largest, anchor_weight)))
    lines = [
        {
            "run": pair.system,
            "baseline": pair.baseline,
            "quantity": quantity,
            "predicted": predicted,
            "absolute": system[quantity] / baseline[quantity],
            "relative": system[f"relative_{quantity}"] / baseline[f"relative_{quantity}"],
        }
        for quantity, predicted in (("variance", tau**2), ("drift", tau))
    ]
    return pl.DataFrame(lines).with_columns(pl.col("predicted").fill_nan(None))


def _describe(label: str, line: Mapping[str, Any]) -> str:
    return (
        f"{label}: masks scatter a user's mean with variance {line['variance']:.2f}, {line['relative_variance']:.1%} "
        f"of the variance between users; squared distance from the centroid {line['drift']:.1f} "
        f"({line['relative_drift']:.0%}). Two masks share {line['between_masks']:.0%} of the 20 nearest users, a mask "
        f"and the clean row {line['clean_masked']:.0%}."
    ) + ("" if line["L"] is None else f" Eigenvalues of the Hessian from {line['m']:.2f} to {line['L']:.1f}.")


def _judge(line: Mapping[str, Any]) -> str:
    if line["predicted"] is None:
        return (
            f"{line['quantity']} of {line['run']} over {line['baseline']}: {line['absolute']:.3f}, over the variance "
            f"between users {line['relative']:.3f}; Proposition 3.2 is about N(0, I) and the likelihood, not these."
        )
    holds, relative = line["absolute"] <= line["predicted"], line["relative"] <= line["predicted"]
    return (
        f"Proposition 3.2 predicts a ratio of at most {line['predicted']:.3f} for the {line['quantity']} of "
        f"{line['run']} over {line['baseline']}: measured {line['absolute']:.3f}, which "
        f"{'keeps' if holds else 'breaks'} it; over the variance between users {line['relative']:.3f}, which "
        f"{'keeps' if relative else 'breaks'} it."
    )


def draw(measured: Mapping[str, DriftMeasurement], *, title: str) -> "Figure":
    """Three panels over the number of interactions, a line for each run."""
    figure = pictures.new_figure(13.2, 4.5, title=title)
    panels = figure.subplots(1, 3)
    columns = ("variance", "drift", "between_masks")
    heads = ("variance over masks", "distance$^2$ from the centroid", "neighbours that two masks share")
    for number, (label, found) in enumerate(measured.items()):
        binned = by_interactions(found.users)
        for axes, column in zip(panels, columns, strict=True):
            scale = 1.0 if column == "between_masks" else found.spread
            values = binned[column].to_numpy() / scale
            look = {"color": pictures.COLOURS[number % 7], "marker": pictures.MARKERS[number % 7], "markersize": 5}
            axes.plot(binned["interactions"].to_numpy(), values, label=label, **look)
    for axes, head in zip(panels, heads, strict=True):
        axes.set(xscale="log", title=head, xlabel="interactions", ylim=(0, None))
        pictures.label_counts(axes.xaxis)
        axes.grid(axis="y")
    panels[0].set_ylabel("over the variance between users")
    panels[2].yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    panels[0].legend()
    return figure


def by_interactions(users: pl.DataFrame) -> pl.DataFrame:
    """Classes of equal numbers of users, means."""
    classes = users.sort("interactions").with_columns(part=pl.int_range(pl.len()) * _CLASSES // pl.len())
    means = pl.col("interactions", "variance", "drift", "between_masks").mean()
    return classes.group_by("part", maintain_order=True).agg(means).drop("part")
