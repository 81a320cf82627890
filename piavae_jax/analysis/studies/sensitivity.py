"""The paper's Figures 3 to 6: how much lambda_A, patience and scale matter."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from piavae_jax import pictures
from piavae_jax.analysis.harness.gathering import load_data, search_trials
from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.needs import SENSITIVITY
from piavae_jax.analysis.harness.study import Findings, Picture, Study, Table
from piavae_jax.benchmark.formats import format_score, metric_title
from piavae_jax.errors import UserError
from piavae_jax.evaluation import MetricSummary
from piavae_jax.training import checkpoint, run_folder
from piavae_jax.training.restore import restore
from piavae_jax.training.results import make_run_evaluator
from piavae_jax.training.session import SELECTION_METRIC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEAT_MAPS, WEIGHTS = "patience_and_scale", "lambda_A"
WEIGHT, PATIENCE, SCALE = "pia.weight", "pia.patience", "pia.scale"
QUALITY = f"validation/{SELECTION_METRIC}"
_PAPER_PATIENCE, _PAPER_SCALE = 5, 2.0
_STABLE_PATIENCE, _STABLE_SCALE = (5, 10), (1.5, 2.3)
"""Where the paper finds validation nDCG@100 stable."""


Measured: TypeAlias = Mapping[float, Mapping[str, MetricSummary]]
"""Test metrics by lambda_A and label."""


class Point(NamedTuple):
    """A trial."""

    weight: float
    """lambda_A at the start."""
    patience: int
    scale: float
    quality: float
    """Validation nDCG@100 of the best epoch."""
    folder: Path


def run(material: Material) -> Findings:
    """Read the trials, draw them as heat maps, and follow lambda_A at one patience and scale, on test users too."""
    assert material.sensitivity is not None, "the study needs it"
    points = read_points(material.sensitivity)
    patience, scale = choose_slice(points)
    chosen = sorted(point for point in points if (point.patience, point.scale) == (patience, scale))
    measured = {point.weight: metrics for point in chosen if (metrics := _measure(material, point))}
    frame = pl.DataFrame(
        [{"lambda_A": p.weight, "patience": p.patience, "scale": p.scale, QUALITY: p.quality} for p in points]
    )
    tables = {
        HEAT_MAPS: Table("Trials", frame.sort("lambda_A", "patience", "scale"), {QUALITY: format_score, **_SHORT}),
        WEIGHTS: Table(
            f"lambda_A at patience {patience} and scale {scale:g}",
            _slice(chosen, measured),
            {QUALITY: format_score, **_SHORT},
        ),
    }
    name = run_folder.load(chosen[0].folder).data_name
    drawn = {
        HEAT_MAPS: Picture(
            "Validation nDCG@100 by patience and scale, one map for each lambda_A (Figures 3 to 5); framed, the best.",
            lambda: draw_heat_maps(points, title=f"Validation nDCG@100 on {name}"),
        ),
        WEIGHTS: Picture(
            f"lambda_A at patience {patience} and scale {scale:g} (Figure 6); bars: standard errors over test users.",
            lambda: draw_weights(chosen, measured, title=f"lambda_A on {name}: patience {patience}, scale {scale:g}"),
        ),
    }
    return Findings(tuple(_sentences(points, chosen, measured)), tables, drawn)


SENSITIVITY_STUDY = Study(
    "figures3-6", "Sensitivity to lambda_A, patience and scale (Figures 3 to 6)", (SENSITIVITY,), run
)
_SHORT = dict.fromkeys(("lambda_A", "patience", "scale"), "g")


def read_points(root: Path) -> list[Point]:
    """The trials of a search whose last epoch was reached.

    Raises:
      UserError: the search varied something else, or no trial has finished.
    """
    path = root / "trials.csv"
    if not path.is_file():
        raise UserError(f"{root} has no trials.csv: pass the --root of a search of bin/tune.py that has ended a trial")
    trials = pl.read_csv(path, glob=False)
    varied = [name for name in trials.columns if "." in name]
    others = sorted(set(varied) - {WEIGHT, PATIENCE, SCALE})
    if others or WEIGHT not in varied:
        raise UserError(
            f"{root} must vary {WEIGHT} and, if anything else, {PATIENCE} and {SCALE}, got {', '.join(varied)}: pass a "
            "search of bin/tune.py --space sensitivity --sampler grid"
        )
    finished = trials.filter(pl.col("state") == "finished")
    if finished.is_empty():
        raise UserError(f"no trial of {root} has finished: run the same bin/tune.py again")
    folders = {int(folder.name.removeprefix("trial-")): folder for folder in search_trials(root)}
    gone = sorted(set(finished["trial"]) - folders.keys())
    if gone:
        raise UserError(f"{path} names trial {gone[0]}, whose run folder is not there: restore a copy of {root}")
    return [_point(line, folders[line["trial"]]) for line in finished.iter_rows(named=True)]


def _point(line: Mapping[str, Any], folder: Path) -> Point:
    pia = run_folder.load(folder).config.pia
    return Point(pia.weight, pia.patience, pia.scale, line[QUALITY], folder)


def choose_slice(points: Sequence[Point]) -> tuple[int, float]:
    """Patience and scale of the curve over lambda_A: of those with most values of it, those nearest to 5 and 2."""

    def rank(entry: tuple[int, float]) -> tuple[float, ...]:
        weights = {point.weight for point in points if (point.patience, point.scale) == entry}
        return (-len(weights), abs(entry[0] - _PAPER_PATIENCE), abs(entry[1] - _PAPER_SCALE))

    return min({(point.patience, point.scale) for point in points}, key=rank)


def _measure(material: Material, point: Point) -> dict[str, MetricSummary]:
    """Means over test users; none of a trial whose checkpoint was not kept."""
    if not (point.folder / checkpoint.FOLDER).is_dir():
        return {}
    material.say(f"ranking for test users with lambda_A {point.weight:g}")
    trained = restore(point.folder)
    dataset = material.prepared or load_data(None, trained.run)
    users = make_run_evaluator(trained.run, dataset, split="test").evaluate(trained.score, trained.params)
    return users.summaries()


def _slice(chosen: Sequence[Point], measured: Measured) -> pl.DataFrame:
    lines = []
    for point in chosen:
        test: dict[str, float] = {}
        for metric, summary in measured.get(point.weight, {}).items():
            test |= {f"test_{metric}": summary.mean, f"test_{metric}_standard_error": summary.standard_error}
        lines.append({"lambda_A": point.weight, QUALITY: point.quality, **test})
    return pl.DataFrame(lines, infer_schema_length=None)


def _sentences(points: Sequence[Point], chosen: Sequence[Point], measured: Measured) -> list[str]:
    best = max(points, key=lambda point: point.quality)
    stable = [
        point
        for point in points
        if _STABLE_PATIENCE[0] <= point.patience <= _STABLE_PATIENCE[1]
        and _STABLE_SCALE[0] <= point.scale <= _STABLE_SCALE[1]
    ]
    sentences = [
        f"Best of {len(points)} trials: lambda_A {best.weight:g}, patience {best.patience}, scale {best.scale:g}, "
        f"validation nDCG@100 {format_score(best.quality)}. All lie between {_range(points)}."
    ]
    if stable:
        sentences.append(
            f"Where the paper (ML-20M) finds it stable, patience 5 to 10 and scale 1.5 to 2.3, {len(stable)} trials "
            f"lie between {_range(stable)}."
        )
    weights = ", ".join(f"{point.weight:g} {format_score(point.quality)}" for point in chosen)
    sentences.append(f"By lambda_A at patience {chosen[0].patience} and scale {chosen[0].scale:g}: {weights}.")
    if len(measured) < len(chosen):
        sentences.append(
            f"Test metrics are there for {len(measured)} of {len(chosen)} values of lambda_A: the search kept the "
            "checkpoints of no other (bin/tune.py --keep all keeps them)."
        )
    return [*sentences, "Trials of one seed each, which choose their best epoch on the validation users shown here."]


def _range(points: Sequence[Point]) -> str:
    qualities = [point.quality for point in points]
    return f"{format_score(min(qualities))} and {format_score(max(qualities))}"


def draw_heat_maps(points: Sequence[Point], *, title: str) -> "Figure":
    """A map of patience by scale for each lambda_A, all on one scale of colours; cells without a trial stay white."""
    weights, patiences, scales = (sorted({point[place] for point in points}) for place in range(3))
    width, height = 1.2 + 0.72 * len(scales), 1.5 + 0.55 * len(patiences)
    figure = pictures.new_figure(width * len(weights) + 1.0, height + 0.9, title=title)
    panels = figure.subplots(1, len(weights), squeeze=False, sharey=True)[0]
    low, high = (extreme(point.quality for point in points) for extreme in (min, max))
    best = max(point.quality for point in points)
    for axes, weight in zip(panels, weights, strict=True):
        grid = np.full((len(patiences), len(scales)), np.nan)
        for point in points:
            if point.weight == weight:
                grid[patiences.index(point.patience), scales.index(point.scale)] = point.quality
        image = axes.imshow(grid, cmap=pictures.SEQUENTIAL, vmin=low, vmax=high or 1.0, aspect="auto")
        texts = [["" if np.isnan(value) else format_score(value) for value in line] for line in grid]
        pictures.label_cells(axes, texts, dark=grid < low + 0.6 * (high - low))
        for row, column in np.argwhere(grid == best):
            _frame_cell(axes, column, row)
        axes.set_xticks(range(len(scales)), [f"{scale:g}" for scale in scales])
        axes.set_yticks(range(len(patiences)), patiences)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(f"lambda_A = {weight:g}")
        axes.set_xlabel("scale")
    panels[0].set_ylabel("patience")
    colors = figure.colorbar(image, ax=list(panels), aspect=30, pad=0.02)
    colors.outline.set_visible(False)
    colors.ax.tick_params(length=0, labelsize=9)
    return figure


def _frame_cell(axes: Any, column: int, row: int) -> None:
    from matplotlib.patches import Rectangle

    style: dict[str, Any] = {"fill": False, "edgecolor": pictures.COLOURS[1], "linewidth": 3, "clip_on": False}
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **style))


def draw_weights(chosen: Sequence[Point], measured: Measured, *, title: str) -> "Figure":
    """Validation nDCG@100 over lambda_A and, of trials with checkpoints, test metrics beside it."""
    metrics = list(dict.fromkeys(metric for values in measured.values() for metric in values))
    figure = pictures.new_figure(3.6 * (1 + len(metrics)), 3.5, title=title)
    panels = figure.subplots(1, 1 + len(metrics), squeeze=False)[0]
    places = range(len(chosen))
    panels[0].plot(places, [point.quality for point in chosen], "o-", color=pictures.COLOURS[0])
    panels[0].set_title(f"validation {metric_title(SELECTION_METRIC)}")
    for axes, metric in zip(panels[1:], metrics, strict=True):
        known = [(place, measured[p.weight][metric]) for place, p in enumerate(chosen) if p.weight in measured]
        means, errors = [summary.mean for _, summary in known], [summary.standard_error for _, summary in known]
        axes.errorbar([place for place, _ in known], means, yerr=errors, fmt="o-", capsize=3, color=pictures.COLOURS[1])
        axes.set_title(f"test {metric_title(metric)}")
    for axes in panels:
        axes.set_xticks(places, [f"{point.weight:g}" for point in chosen])
        axes.margins(x=0.12, y=0.25)
        axes.set_xlabel("lambda_A")
        axes.grid(axis="y")
    return figure
