"""Learning curves of a run as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from piavae_jax import pictures
from piavae_jax.errors import UserError

Records: TypeAlias = Sequence[Mapping[str, Any]]
TERMS = {
    "nll": "reconstruction",
    "warp": "WARP",
    "lambdarank": "LambdaRank",
    "kl": "KL",
    "anchor": "anchor loss",
    "consistency": "distance of views",
    "critic": "critic's squared error",
}
"""Names of the terms of all losses, by their field in `metrics.jsonl`."""


@pictures.style()
def draw_curves(records: Records, path: Path, *, title: str) -> None:
    """Draw validation metrics, loss terms and their weights over epochs into a PNG.

    Raises:
      UserError: matplotlib is not installed, or there is nothing to draw.
    """
    if not records:
        raise UserError("there are no records of epochs to draw; metrics.jsonl is missing or empty")
    figure = pictures.new_figure(12, 3.6, title=title)
    quality, terms, weights = figure.subplots(1, 3)
    _draw_quality(quality, records)
    _draw_terms(terms, records)
    _draw_weights(weights, records)
    for axes in (quality, terms, weights):
        axes.set_xlabel("epoch")
        axes.grid()
    pictures.save(figure, path)


def _plot(axes: Any, records: Records, key: str, **style: Any) -> Any:
    # Not every stage of a training has every term.
    points = [(record["epoch"], record[key]) for record in records if key in record]
    (line,) = axes.plot(*zip(*points, strict=True), **style)
    return line


def _has(records: Records, key: str) -> bool:
    return any(key in record for record in records)


def _draw_quality(axes: Any, records: Records) -> None:
    for key in records[0]:
        if key.startswith("validation/"):
            _plot(axes, records, key, label=key.removeprefix("validation/"))
    axes.axvline(records[-1]["best_epoch"], color="grey", linewidth=0.8, linestyle="--", label="best epoch")
    axes.set(title="validation", ylim=(0, None))
    axes.legend()


def _draw_terms(axes: Any, records: Records) -> None:
    for key, label in TERMS.items():
        if _has(records, key):
            _plot(axes, records, key, label=label)
    axes.set(title="loss terms, unweighted", yscale="log")
    axes.legend()


def _draw_weights(axes: Any, records: Records) -> None:
    lines = [_plot(axes, records, "beta", label="beta (KL)")]
    axes.set(title="weights", ylim=(0, None))
    if _has(records, "anchor"):
        right = axes.twinx()
        lines.append(
            _plot(right, records, "anchor_weight", label="lambda_A (anchor), right", color=pictures.COLOURS[2])
        )
        right.set_ylim(0, None)
        right.spines["right"].set_visible(True)
    axes.legend(handles=lines)
