"""The paper's Figure 2: where users with few, middling and many interactions lie in latent space."""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
import polars as pl

from piavae_jax import pictures
from piavae_jax.analysis.harness.labels import describe_setting
from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.needs import POSTERIOR, SCIKIT_LEARN
from piavae_jax.analysis.harness.study import Findings, Format, Picture, Study, Table
from piavae_jax.analysis.harness.words import say_difference
from piavae_jax.analysis.posteriors import encode_rows
from piavae_jax.analysis.studies.cohorts import (
    NAMES,
    NEIGHBOURS,
    Cohort,
    Geometry,
    choose_cohorts,
    measure_cohorts,
)
from piavae_jax.analysis.studies.published import FIGURE2_NDCG
from piavae_jax.analysis.wasserstein import w2_points
from piavae_jax.benchmark.formats import format_mean, format_score
from piavae_jax.evaluation import Comparison, MetricSummary, compare
from piavae_jax.training.session import SELECTION_METRIC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACES, SEPARATION = "tsne", "separation"
_SIZE = 200
"""Users of a cohort, at most."""
_SETTINGS = ("clean input", "masking", "masking + PIA")


class Panel(NamedTuple):
    """One run."""

    points: np.ndarray
    """float32[B, 2], t-SNE of the posterior means."""
    geometry: Geometry
    """Of whole histories, as in evaluation."""
    masked: Geometry
    """Of one draw of the run's own mask, as in training; the same for a run with clean input."""
    quality: MetricSummary
    """Test nDCG@100."""


def run(material: Material) -> Findings:
    """Encode the same users with every run, project them, and measure how their cohorts lie."""
    cohorts = choose_cohorts(material.dataset.train.lengths, size=_SIZE)
    users = np.concatenate([cohort.users for cohort in cohorts])
    cohort_of = np.repeat(np.arange(len(cohorts)), [len(cohort.users) for cohort in cohorts])
    qualities = {label: metrics.summary(SELECTION_METRIC) for label, metrics in material.test_users.items()}
    panels = {}
    for label, subject in material.track(material.subjects.items(), f"t-SNE of {len(users):,} users"):
        encode = partial(encode_rows, subject.model, subject.params, material.dataset.train, users=users)
        whole, masked = encode(), encode(mask=subject.mask, key=jax.random.key(material.seed))
        panels[label] = Panel(
            project(np.asarray(whole.mean), seed=material.seed),
            measure_cohorts(w2_points(whole), cohort_of),
            measure_cohorts(w2_points(masked), cohort_of),
            qualities[label],
        )
    compared = _compare(material)
    tables = {
        SEPARATION: Table("Cohorts in latent space, test nDCG@100", _separation(panels), _FORMATS),
        PLACES: Table("Users in the picture", _places(panels, users, cohort_of, material.dataset.train.lengths[users])),
    }
    caption = (
        "t-SNE of the posterior means of training users under clean input, one picture a run. Only who is near whom "
        "means something: distances between clusters, sizes and axes do not. Below, in the latent space: silhouette, "
        "own cohort among the nearest users, W2 between barycentres, and the mean distance to the own one (spread)."
    )
    title = f"Latent space of users of {material.dataset.name}"
    drawn = {PLACES: Picture(caption, lambda: draw_panels(panels, cohorts, cohort_of, title=title))}
    settings = {label: describe_setting(run.config) for label, run in material.runs.items()}
    return Findings(tuple(_sentences(panels, cohorts, compared, settings)), tables, drawn)


FIGURE2 = Study(
    "figure2",
    "Users with few, middling and many interactions in latent space (Figure 2)",
    (POSTERIOR, SCIKIT_LEARN),
    run,
)
_FORMATS: Mapping[str, Format] = {
    **dict.fromkeys(("silhouette", "masked_silhouette"), format_score),
    **dict.fromkeys(("neighbours", "masked_neighbours"), ".0%"),
    **dict.fromkeys(("few_middling", "middling_many", "few_many", "within"), ".2f"),
}


def project(means: np.ndarray, *, seed: int) -> np.ndarray:
    """t-SNE (van der Maaten, Hinton, JMLR 2008) of `means: float32[B, D]`, begun at their principal components.

    Returns:
      float32[B, 2].
    """
    from sklearn.manifold import TSNE  # an extra: the study needs it, others do not
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    tsne = TSNE(perplexity=min(30.0, (len(means) - 1) / 3), init="pca", random_state=seed)
    with threadpool_limits(1):  # its threads wait for each other: on busy cores that takes ten times longer
        return tsne.fit_transform(means)


def _compare(material: Material) -> list[Comparison]:
    """Each run with the one before it."""
    users = material.test_users
    pairs = pairwise(users)
    return [
        row
        for before, after in pairs
        for row in compare({before: users[before], after: users[after]}, before, metrics=[SELECTION_METRIC])
    ]


def _separation(panels: Mapping[str, Panel]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "run": label,
                **panel.geometry._asdict(),
                "masked_silhouette": panel.masked.silhouette,
                "masked_neighbours": panel.masked.neighbours,
                SELECTION_METRIC: panel.quality.mean,
                f"{SELECTION_METRIC}_standard_error": panel.quality.standard_error,
            }
            for label, panel in panels.items()
        ]
    )


def _places(
    panels: Mapping[str, Panel], users: np.ndarray, cohort_of: np.ndarray, interactions: np.ndarray
) -> pl.DataFrame:
    frames = [
        pl.DataFrame(
            {
                "run": [label] * len(users),
                "cohort": [NAMES[number] for number in cohort_of],
                "training_row": users,
                "interactions": interactions,
                "x": panel.points[:, 0],
                "y": panel.points[:, 1],
            }
        )
        for label, panel in panels.items()
    ]
    return pl.concat(frames)


def _sentences(
    panels: Mapping[str, Panel], cohorts: list[Cohort], compared: list[Comparison], settings: Mapping[str, str]
) -> list[str]:
    sentences = [
        f"{label}: silhouette of the cohorts {format_score(panel.geometry.silhouette)}, {panel.geometry.neighbours:.0%}"
        f" of the {NEIGHBOURS} nearest users are of the own cohort (under the mask of training "
        f"{format_score(panel.masked.silhouette)}, {panel.masked.neighbours:.0%}); distances "
        f"{_describe_order(panel.geometry)}; test nDCG@100 {format_mean(panel.quality)}."
        for label, panel in panels.items()
    ]
    sentences += [f"nDCG@100 of {row.system} minus {row.baseline}: {say_difference(row)}." for row in compared]
    by_setting = {setting: panels[label] for label, setting in settings.items()}
    if len(panels) == len(by_setting) and set(_SETTINGS) <= by_setting.keys():
        sentences += judge(*(by_setting[setting] for setting in _SETTINGS))
    ranges = ", ".join(f"{cohort.name} {cohort.label}" for cohort in cohorts)
    return [
        *sentences,
        f"The cohorts are {len(cohorts[0].users)} training users each, around the lowest, the 50 % and the 95 % "
        f"quantile of activity: {ranges} interactions. All runs encode the same users, from all their interactions "
        "where nothing else is said.",
        "Distances are W2 between posteriors in the latent space, never in the picture; between cohorts, of their "
        "barycentres. Spaces of different runs have different scales: compare orders and ratios.",
    ]


def _describe_order(geometry: Geometry) -> str:
    distances = {
        "few-middling": geometry.few_middling,
        "middling-many": geometry.middling_many,
        "few-many": geometry.few_many,
    }
    ordered = sorted(distances.items(), key=lambda entry: entry[1])
    return " < ".join(f"{name} {value:.2f}" for name, value in ordered) + f", spread {geometry.within:.2f}"


def judge(clean: Panel, masked: Panel, aligned: Panel) -> list[str]:
    """The paper's claims about its three settings, beside what was found."""
    claims = [
        (
            "with clean input, users with many interactions lie nearer to those with few than to those with middling",
            clean.geometry.few_many < clean.geometry.middling_many,
        ),
        ("masking entangles the cohorts (a lower silhouette)", masked.geometry.silhouette < clean.geometry.silhouette),
        (
            "masking + PIA puts them in the order of their activity",
            aligned.geometry.few_many > max(aligned.geometry.few_middling, aligned.geometry.middling_many),
        ),
        (
            "masking + PIA tells them apart better than masking",
            aligned.geometry.silhouette > masked.geometry.silhouette,
        ),
    ]
    holds = [claim for claim, found in claims if found]
    fails = [claim for claim, found in claims if not found]
    sentences = [f"Of what the paper says about ML-20M, this holds here: {'; '.join(holds)}."] if holds else []
    sentences += [f"This does not: {'; '.join(fails)}."] if fails else []
    ordered = clean.quality.mean < masked.quality.mean < aligned.quality.mean
    numbers = " < ".join(format_score(value).rstrip("0") for value in FIGURE2_NDCG)
    order = f"The paper's order of nDCG@100, clean input < masking < masking + PIA ({numbers} on ML-20M)"
    return [*sentences, f"{order}, {'holds' if ordered else 'does not hold'} here."]


def draw_panels(panels: Mapping[str, Panel], cohorts: list[Cohort], cohort_of: np.ndarray, *, title: str) -> "Figure":
    """A picture of all users for each run, coloured by cohort."""
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure = pictures.new_figure(4.1 * columns, 4.5 * rows + 0.9, title=title)
    drawn = figure.subplots(rows, columns, squeeze=False).ravel()
    order = np.random.default_rng(0).permutation(len(cohort_of))  # so that no cohort covers another
    colors = np.array(pictures.ORDERED_COLOURS)[cohort_of]
    for axes, (label, panel) in zip(drawn, panels.items(), strict=False):
        axes.scatter(*panel.points[order].T, c=colors[order], s=9, alpha=0.75, linewidths=0)
        axes.set_title(f"{label}\nnDCG@100 {format_score(panel.quality.mean)}")
        geometry = panel.geometry
        note = (
            f"silhouette {format_score(geometry.silhouette)}; {geometry.neighbours:.0%} of neighbours in own cohort\n"
            f"few-middling {geometry.few_middling:.2f}, middling-many {geometry.middling_many:.2f},\n"
            f"few-many {geometry.few_many:.2f}; spread {geometry.within:.2f}"
        )
        axes.set_xlabel(note, loc="left", **pictures.NOTE)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        axes.spines[:].set_color("0.8")
    for axes in drawn[len(panels) :]:
        axes.set_axis_off()
    handles = [
        drawn[0].scatter([], [], s=45, color=color, label=f"{cohort.name}: {cohort.label} interactions")
        for color, cohort in zip(pictures.ORDERED_COLOURS, cohorts, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=11)
    return figure
