"""Latent space over epochs: what it tells of users, how far apart they are, whether neighbours stay the same."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import polars as pl

from piavae_jax import pictures
from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.needs import SNAPSHOT_SERIES
from piavae_jax.analysis.harness.study import Findings, Format, Picture, Study, Table
from piavae_jax.analysis.measurements import measure_epochs
from piavae_jax.analysis.subject import snapshots_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OVER_EPOCHS = "epochs"
NEIGHBOURS = 20


def run(material: Material) -> Findings:
    """Measure each run's snapshots."""
    key, rows = jax.random.key(material.seed), material.dataset.train
    neighbours = min(NEIGHBOURS, rows.num_rows - 1)
    parts = [
        measure_epochs(snapshots_of(subject), rows, k=neighbours, key=key).select(pl.lit(label).alias("run"), pl.all())
        for label, subject in material.track(material.subjects.items(), "posteriors of every snapshot")
    ]
    found = pl.concat(parts)
    caption = (
        "Training users, clean rows, at each snapshot. From the left: mean KL from the prior, and the part of it that "
        "is mutual information (dotted); mean squared distance of users from their centre; share of a user's nearest "
        "neighbours that are the same as one snapshot before; and that two masks of the user have in common."
    )
    title = f"Latent space of users of {material.dataset.name} over epochs"
    return Findings(
        (*(_describe(part) for part in parts), _definition(neighbours)),
        {OVER_EPOCHS: Table("Latent space over epochs", found, _FORMATS)},
        {OVER_EPOCHS: Picture(caption, lambda: draw(found, title=title))},
    )


EPOCHS = Study("epochs", "Information and neighbourhood drift over epochs", (SNAPSHOT_SERIES,), run)
_FORMATS: Mapping[str, Format] = {
    **dict.fromkeys(("mean_kl", "marginal_kl", "spread"), ".1f"),
    "mutual_information": ".3f",
    **dict.fromkeys(("between_masks", "between_epochs"), ".1%"),
}


def _definition(neighbours: int) -> str:
    return (
        f"Neighbours are the {neighbours} nearest training users by Euclidean distance of posterior means. Mutual "
        "information is that of Eq. 7 over the training users, equally likely, at most the logarithm of their number."
    )


def _describe(part: pl.DataFrame) -> str:
    first, last = part.row(0, named=True), part.row(-1, named=True)
    second = part.row(1, named=True)
    return (
        f"{first['run']}, epoch {first['epoch']} to {last['epoch']}: the mean KL goes from {first['mean_kl']:.1f} to "
        f"{last['mean_kl']:.1f} nats, of which information {first['mutual_information']:.2f} to "
        f"{last['mutual_information']:.2f}; from one snapshot to the next users keep {second['between_epochs']:.0%} of "
        f"their neighbours at first and {last['between_epochs']:.0%} at last, from mask to mask "
        f"{first['between_masks']:.0%} and {last['between_masks']:.0%}."
    )


def draw(found: pl.DataFrame, *, title: str) -> "Figure":
    """Four panels over epochs, a line for each run."""
    figure = pictures.new_figure(14.0, 4.0, title=title)
    divergence, spread, epochs, masks = figure.subplots(1, 4)
    for number, part in enumerate(found.partition_by("run", maintain_order=True)):
        look = {"color": pictures.COLOURS[number % 7], "marker": pictures.MARKERS[number % 7], "markersize": 4}
        label = part["run"][0]
        at = part["epoch"].to_numpy()
        divergence.plot(at, part["mean_kl"].to_numpy(), label=label, **look)
        divergence.plot(at, part["mutual_information"].to_numpy(), linestyle=":", **look)
        spread.plot(at, part["spread"].to_numpy(), **look)
        epochs.plot(at[1:], part["between_epochs"].to_numpy()[1:], **look)
        masks.plot(at, part["between_masks"].to_numpy(), **look)
    divergence.set(yscale="log", title="KL and information, nats")
    spread.set(yscale="log", title="spread of users")
    epochs.set(title="neighbours kept since the\nsnapshot before", ylim=(0, 1))
    masks.set(title="neighbours that two masks share", ylim=(0, 1))
    for axes in (epochs, masks):
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    for axes in (divergence, spread, epochs, masks):
        axes.set_xlabel("epoch")
        axes.grid()
    handles, labels = divergence.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
    return figure
