"""Eq. 7 on trained runs: what of the KL is information about users, what a mismatch with the prior; active units."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import numpy as np
import polars as pl

from piavae_jax import pictures
from piavae_jax.analysis.active_units import ACTIVE_VARIANCE
from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.needs import POSTERIOR
from piavae_jax.analysis.harness.study import Findings, Format, Picture, Study, Table
from piavae_jax.analysis.measurements import InformationMeasurement, measure_information

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS, UNITS = "information", "units"
_INPUTS = {"clean": 0, "masked": 2}
"""Masks of each user."""
Measured = Mapping[tuple[str, str], InformationMeasurement]


def run(material: Material) -> Findings:
    """Decompose the KL of each run, of clean rows and of masked ones."""
    key = jax.random.key(material.seed)
    asked = [(label, seen) for label in material.subjects for seen in _INPUTS]
    measured = {
        (label, seen): measure_information(
            material.subjects[label], material.dataset.train, masks=_INPUTS[seen], key=key
        )
        for label, seen in material.track(asked, "densities of the aggregated posteriors")
    }
    units = pl.concat(
        [
            found.units.select(
                run=pl.lit(label), input=pl.lit(seen), unit=pl.int_range(1, pl.len() + 1), variance="variance", kl="kl"
            )
            for (label, seen), found in measured.items()
        ]
    )
    caption = (
        "Left: the mean KL of training users as mutual information plus the aggregated posterior's KL from the prior; "
        "dotted, log U, the most that so many users can hold. Right: variance over users of each latent coordinate's "
        "mean, sorted, clean input; dotted, the threshold of an active unit."
    )
    title = f"What the KL term of users of {material.dataset.name} is made of (Eq. 7)"
    tables = {
        PARTS: Table("The parts of the mean KL, nats", _parts(measured), _FORMATS),
        UNITS: Table("Latent coordinates, the most active first", units),
    }
    sentences = [_describe(label, seen, found) for (label, seen), found in measured.items()]
    picture = Picture(caption, lambda: draw(measured, title=title))
    return Findings((*sentences, *_DEFINITIONS), tables, {PARTS: picture})


INFORMATION = Study("information", "What the KL term is made of (Eq. 7)", (POSTERIOR,), run)
_COLUMNS = ("mean_kl", "mutual_information", "marginal_kl")
_FORMATS: Mapping[str, Format] = {
    name: ".3f" for column in (*_COLUMNS, "ceiling") for name in (column, f"{column}_standard_error")
}
_DEFINITIONS = (
    "The population is the training users, equally likely, and in the masked case two masks of each: it cannot "
    "hold more than log U then, and where it does, the split says that users are told apart, not how much a larger "
    "population would tell. ± is the standard error over users.",
    f"A unit is active if its posterior mean varies over users by more than {ACTIVE_VARIANCE} (Burda et al. 2016).",
)


def _parts(measured: Measured) -> pl.DataFrame:
    lines = []
    for (label, seen), found in measured.items():
        line = {"run": label, "input": seen}
        for name in _COLUMNS:
            part = getattr(found.decomposition, name)
            line |= {name: part.value, f"{name}_standard_error": part.standard_error}
        lines.append(line | {"ceiling": found.decomposition.ceiling, "active_units": found.active})
    return pl.DataFrame(lines)


def _describe(label: str, seen: str, found: InformationMeasurement) -> str:
    parts = found.decomposition
    text = (
        f"{label}, {seen} input: mean KL {parts.mean_kl.value:.1f} nats = {parts.mutual_information.value:.2f} mutual "
        f"information ({parts.mutual_information.value / parts.ceiling:.1%} of log U = {parts.ceiling:.2f}) + "
        f"{parts.marginal_kl.value:.1f} from the prior; {found.active} of {found.units.height} units active"
    )
    return f"{text}; {found.warning}." if found.warning else f"{text}."


def draw(measured: Measured, *, title: str) -> "Figure":
    """Stacked bars, and sorted variances."""
    figure = pictures.new_figure(11.2, 4.7, title=title)
    left, right = figure.subplots(1, 2)
    names = [f"{label}\n{seen}" for label, seen in measured]
    information = np.array([found.decomposition.mutual_information.value for found in measured.values()])
    marginal = np.array([found.decomposition.marginal_kl.value for found in measured.values()])
    places = np.arange(len(names))
    left.bar(places, information, 0.6, color=pictures.COLOURS[2], label="mutual information I(X; Z)")
    left.bar(places, marginal, 0.6, bottom=information, color=pictures.COLOURS[5], label="KL(q(Z) || p)")
    for place, one, other in zip(places, information, marginal, strict=True):
        left.text(place, one + other, f"{one:.1f} + {other:.1f}", ha="center", va="bottom", fontsize=9)
    for place, found in zip(places, measured.values(), strict=True):
        left.plot([place - 0.38, place + 0.38], [found.decomposition.ceiling] * 2, color="0.2", linestyle=":")
    left.set_xticks(places, names, fontsize=9)
    left.set(ylabel="nats", title="parts of the mean KL", ylim=(0, 1.3 * (information + marginal).max()))
    left.legend(loc="upper left")
    runs = dict.fromkeys(label for label, _ in measured)
    for number, label in enumerate(runs):
        variance = measured[label, "clean"].units["variance"].to_numpy()
        right.plot(np.arange(1, len(variance) + 1), variance, color=pictures.COLOURS[number % 7], label=label)
    right.axhline(ACTIVE_VARIANCE, color="0.2", linestyle=":")
    right.set(yscale="log", xlabel="latent coordinate, sorted", title="variance of the posterior mean over users")
    right.legend()
    return figure
