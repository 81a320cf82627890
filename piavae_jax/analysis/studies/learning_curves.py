"""How runs went: quality, divergence, alignment and its weight over epochs."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import polars as pl

from piavae_jax import pictures
from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.needs import RUNS
from piavae_jax.analysis.harness.study import Findings, Picture, Study, Table
from piavae_jax.benchmark.formats import format_score, metric_title
from piavae_jax.errors import UserError
from piavae_jax.training.run_folder import RunFolder, read_metrics
from piavae_jax.training.session import SELECTION_METRIC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES, SUMMARY = "curves", "summary"
_SHOWN = 0.6
"""Of the worst run's best quality, from which up it is drawn: where runs differ."""
QUALITY = f"validation/{SELECTION_METRIC}"
Records: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]
"""The lines of `metrics.jsonl`, by label."""


class _Panel(NamedTuple):
    key: str
    """A field of the records."""
    title: str
    log: bool = False


_PANELS = (
    _Panel(QUALITY, f"validation {metric_title(SELECTION_METRIC)}"),
    _Panel("kl", "KL to the prior, nats a user", log=True),
    _Panel("anchor", "anchor loss L_A", log=True),
    _Panel("anchor_weight", "lambda_A"),
)


def run(material: Material) -> Findings:
    """Lay the records of all runs side by side."""
    records = read_records(material.runs)
    summary = _summarize(records, material.runs)
    title = f"Training on {material.dataset.name}"
    tables = {
        CURVES: Table("All epochs", pl.concat([_frame(*entry) for entry in records.items()], how="diagonal_relaxed")),
        SUMMARY: Table(
            "Best epochs", summary, {QUALITY: format_score, "kl": ".1f", "anchor": ".2f", "last_lambda_A": ".2f"}
        ),
    }
    caption = "Each run over its epochs; the dot is the best one, whose parameters are kept."
    return Findings(
        tuple(_sentences(summary)), tables, {CURVES: Picture(caption, lambda: draw_curves(records, title=title))}
    )


LEARNING_CURVES = Study("curves", "Quality, KL and lambda_A over epochs", (RUNS,), run)


def read_records(runs: Mapping[str, RunFolder]) -> Records:
    """The records of all epochs, by label.

    Raises:
      UserError: a run has none.
    """
    records = {label: read_metrics(run) for label, run in runs.items()}
    for label, lines in records.items():
        if not lines:
            raise UserError(f"{runs[label].metrics_file} has no epochs to draw; train the run first")
    return records


def _frame(label: str, records: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{"run": label, **record} for record in records], infer_schema_length=None)


def _summarize(records: Records, runs: Mapping[str, RunFolder]) -> pl.DataFrame:
    lines = []
    for label, lines_of in records.items():
        best = next(line for line in lines_of if line["epoch"] == lines_of[-1]["best_epoch"])
        weights = [line["anchor_weight"] for line in lines_of]
        aligned = runs[label].config.pia.enabled
        lines.append(
            {
                "run": label,
                "epochs": len(lines_of),
                "best_epoch": best["epoch"],
                QUALITY: best[QUALITY],
                "kl": best.get("kl"),
                "anchor": best.get("anchor"),
                "increases": sum(after > before for before, after in pairwise(weights)) if aligned else None,
                "last_lambda_A": weights[-1] if aligned else None,
            }
        )
    return pl.DataFrame(lines, infer_schema_length=None)


def _sentences(summary: pl.DataFrame) -> list[str]:
    sentences = []
    for line in summary.iter_rows(named=True):
        best, epoch = format_score(line[QUALITY]), line["best_epoch"]
        text = f"{line['run']}: best validation nDCG@100 {best} at epoch {epoch} of {line['epochs']}"
        if line["kl"] is not None:
            text += f", where the KL is {line['kl']:.1f} nats a user"
        if line["increases"] is not None:
            grew = (
                f"grew to {line['last_lambda_A']:.3g} in {line['increases']} steps"
                if line["increases"]
                else "never grew"
            )
            text += f"; lambda_A {grew}"
        sentences.append(f"{text}.")
    return [
        *sentences,
        "KL and L_A are means over training users under the mask, unweighted. Mutual information and neighbourhood "
        "drift over epochs are what the study epochs shows, of runs that keep snapshots.",
    ]


def draw_curves(records: Records, *, title: str) -> "Figure":
    """A panel for each quantity that any run has, a line for each run."""
    panels = [panel for panel in _PANELS if any(_points(lines, panel.key) for lines in records.values())]
    figure = pictures.new_figure(3.7 * len(panels), 3.9, title=title)
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(drawn, panels, strict=True):
        for number, (label, lines) in enumerate(records.items()):
            _draw_line(axes, lines, panel.key, label=label, color=pictures.COLOURS[number % len(pictures.COLOURS)])
        axes.set(xlabel="epoch", **({"yscale": "log"} if panel.log else {"ylim": (0, None)}))
        axes.set_title(panel.title)
        axes.grid()
    bests = [max(record[QUALITY] for record in lines) for lines in records.values()]
    drawn[0].set_ylim(_SHOWN * min(bests), max(bests) + 0.05 * (max(bests) - _SHOWN * min(bests)))
    handles, labels = drawn[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
    return figure


def _draw_line(axes: Any, records: Sequence[Mapping[str, Any]], key: str, *, label: str, color: str) -> None:
    points = _points(records, key)
    if not points:
        return
    axes.plot(*zip(*points, strict=True), color=color, label=label, linewidth=1.6)
    best = dict(points).get(records[-1]["best_epoch"])
    if best is not None:
        axes.plot(records[-1]["best_epoch"], best, "o", color=color, markersize=6)


def _points(records: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    """Epochs and values; of the weight and the loss of anchors, where there are anchors."""
    needed = "anchor" if key == "anchor_weight" else key
    return [(record["epoch"], record[key]) for record in records if needed in record]
