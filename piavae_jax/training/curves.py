"""Learning curves of a run as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from piavae_jax.errors import UserError

_LEGEND: Mapping[str, Any] = {"fontsize": "small", "frameon": False}
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


def draw_curves(records: Records, path: Path, *, title: str) -> None:
    """Draw validation metrics, loss terms and their weights over epochs into a PNG.

    Raises:
      UserError: matplotlib is not installed, or there is nothing to draw.
    """
    if not records:
        raise UserError("there are no records of epochs to draw; metrics.jsonl is missing or empty")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("learning curves need matplotlib; install it with: pip install 'piavae-jax[plots]'") from error
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    figure.suptitle(title)
    quality, terms, weights = figure.subplots(1, 3)
    _draw_quality(quality, records)
    _draw_terms(terms, records)
    _draw_weights(weights, records)
    for axes in (quality, terms, weights):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.25)
        axes.spines["top"].set_visible(False)
    figure.savefig(path, dpi=120)


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
    axes.legend(**_LEGEND)


def _draw_terms(axes: Any, records: Records) -> None:
    for key, label in TERMS.items():
        if _has(records, key):
            _plot(axes, records, key, label=label)
    axes.set(title="loss terms, unweighted", yscale="log")
    axes.legend(**_LEGEND)


def _draw_weights(axes: Any, records: Records) -> None:
    lines = [_plot(axes, records, "beta", label="beta (KL)")]
    axes.set(title="weights", ylim=(0, None))
    if _has(records, "anchor"):
        right = axes.twinx()
        lines.append(_plot(right, records, "anchor_weight", label="lambda_A (anchor), right", color="tab:green"))
        right.set_ylim(0, None)
        right.spines["top"].set_visible(False)
    axes.legend(handles=lines, **_LEGEND)
