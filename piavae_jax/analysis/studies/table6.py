"""The paper's Table 6: what PIA costs, in seconds an epoch."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from piavae_jax import pictures
from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.needs import RUNS
from piavae_jax.analysis.harness.run_pairs import twin_without_pia
from piavae_jax.analysis.harness.study import Findings, Picture, Study, Table
from piavae_jax.analysis.studies.published import TABLE6_SECONDS
from piavae_jax.errors import UserError
from piavae_jax.training.run_folder import RunFolder, read_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECONDS = "seconds"
_RESAMPLES = 10_000
_FAST = 0.1
_FEW = 20
"""Epochs below which a quantile of their times means little."""
_UNEVEN = 1.25
"""Ratio of the quartiles of an epoch's time, above which something else than the model decided it."""
_PAPER = {"ml-20m": "ML-20M", "netflix": "Netflix"}


class Timing(NamedTuple):
    """How long the epochs of a run took to train, the first left out."""

    seconds: np.ndarray
    """float64[epochs - 1], wall-clock; validation and checkpoints are not in them."""
    device: str
    """Such as "1 x NVIDIA A10G"."""
    twin: str | None
    """The label of the same run without PIA, if there is one and it ran on the same kind of device."""

    @property
    def median(self) -> float:
        """Seconds an epoch."""
        return float(np.median(self.seconds))

    @property
    def undisturbed(self) -> float:
        """Seconds an epoch where the machine does nothing else: the 10 % quantile."""
        return float(np.quantile(self.seconds, _FAST))


class Overhead(NamedTuple):
    """How much longer an epoch takes, as a share."""

    relative: float
    low: float
    """Lower end of the 95 % interval."""
    high: float

    @property
    def text(self) -> str:
        """Such as "+3.1% (+2.0% to +4.5%)"."""
        return f"{self.relative:+.1%} ({self.low:+.1%} to {self.high:+.1%})"


Overheads: TypeAlias = Mapping[str, tuple[Overhead, ...]]
"""By label of a run with PIA: of the fastest tenth of epochs, and of the median."""


def run(material: Material) -> Findings:
    """Read how long epochs took, and set each run with PIA beside the same run without."""
    timings = read_timings(material.runs)
    overheads = {
        label: tuple(
            overhead(timing.seconds, timings[timing.twin].seconds, quantile=quantile, seed=material.seed)
            for quantile in (_FAST, 0.5)
        )
        for label, timing in timings.items()
        if timing.twin is not None
    }
    table = Table("Training time of an epoch", _frame(timings, overheads), _FORMATS)
    title = f"Training time of an epoch on {material.dataset.name}"
    picture = Picture(
        "Each dot is an epoch, the first left out; the thick line is the median, the thin one the fastest tenth.",
        lambda: draw_timings(timings, title=title),
    )
    return Findings(tuple(_sentences(timings, overheads)), {SECONDS: table}, {SECONDS: picture})


TABLE6 = Study("table6", "Training time of an epoch with and without PIA (Table 6)", (RUNS,), run)
_FORMATS = {
    **dict.fromkeys(("fast_seconds", "lower_quartile", "median_seconds", "upper_quartile"), ".3f"),
    **dict.fromkeys(("fast_overhead", "median_overhead"), "+.1%"),
}


def read_timings(runs: Mapping[str, RunFolder]) -> dict[str, Timing]:
    """The timings of runs by label.

    Raises:
      UserError: a run has fewer than two epochs.
    """
    devices = {label: json.loads((run.path / "run.json").read_text())["device"] for label, run in runs.items()}
    timings = {}
    for label, run in runs.items():
        seconds = np.array([record["train_seconds"] for record in read_metrics(run)][1:], np.float64)
        if not len(seconds):
            raise UserError(f"{run.path} must have two epochs, the first one compiles, got fewer: train it longer")
        twin = twin_without_pia(label, runs)
        timings[label] = Timing(seconds, devices[label], twin if twin and devices[twin] == devices[label] else None)
    return timings


def overhead(with_pia: np.ndarray, without: np.ndarray, *, quantile: float, seed: int) -> Overhead:
    """How much longer an epoch takes with PIA: the ratio of a quantile of its times, less 1.

    Args:
      with_pia: float64[E], seconds of epochs.
      without: float64[F].
      quantile: 0.5 for medians.
      seed: of the bootstrap over epochs.
    """
    generator = np.random.default_rng(seed)
    resampled = [
        np.quantile(generator.choice(seconds, (_RESAMPLES, len(seconds))), quantile, axis=1)
        for seconds in (with_pia, without)
    ]
    low, high = np.percentile(resampled[0] / resampled[1] - 1, [2.5, 97.5])
    return Overhead(
        float(np.quantile(with_pia, quantile) / np.quantile(without, quantile) - 1), float(low), float(high)
    )


def _frame(timings: Mapping[str, Timing], overheads: Overheads) -> pl.DataFrame:
    lines = []
    for label, timing in timings.items():
        lower, upper = np.percentile(timing.seconds, [25, 75])
        line: dict[str, Any] = {"run": label, "without_PIA": timing.twin or "", "device": timing.device}
        line |= {"epochs": len(timing.seconds), "fast_seconds": timing.undisturbed, "lower_quartile": lower}
        line |= {"median_seconds": timing.median, "upper_quartile": upper}
        fast, median = overheads.get(label, (None, None))
        line |= {"fast_overhead": fast and fast.relative, "median_overhead": median and median.relative}
        lines.append(line)
    return pl.DataFrame(lines, schema_overrides=dict.fromkeys(("fast_overhead", "median_overhead"), pl.Float64))


def _sentences(timings: Mapping[str, Timing], overheads: Overheads) -> list[str]:
    found = [_describe(label, timings, *both) for label, both in overheads.items()]
    if not found:
        found = ["No run with PIA has its twin without PIA here, on the same kind of device, so there is no overhead."]
    uneven = [
        label for label, timing in timings.items() if np.divide(*np.percentile(timing.seconds, [75, 25])) > _UNEVEN
    ]
    if uneven:
        found.append(
            f"Epochs of {', '.join(uneven)} differ much in time: they are of different stages, or the machine was "
            "busy with something else. Then trust the fastest tenth rather than the median, and a machine of your own "
            "rather than either."
        )
    fewest = min(len(timing.seconds) for timing in timings.values())
    if fewest < _FEW:
        found.append(f"With {fewest} epochs of a run alone the figures are rough: train it for {_FEW} or more.")
    paper = ", ".join(
        f"{_PAPER[name]} {before:.2f} to {after:.2f} s ({after / before - 1:+.1%})"
        for name, (before, after) in TABLE6_SECONDS.items()
    )
    return [
        *found,
        f"The paper's means, on an NVIDIA A10G: {paper}.",
        "Wall-clock seconds of training alone, without validation and checkpoints; the first epoch is left out "
        "because it compiles. Intervals are of a bootstrap over epochs: they know nothing of a machine that was slower "
        "during the whole of one run.",
    ]


def _describe(label: str, timings: Mapping[str, Timing], fast: Overhead, median: Overhead) -> str:
    ours = timings[label]
    twin = timings[ours.twin or ""]
    return (
        f"{label} against {ours.twin}, seconds an epoch: in the fastest tenth {ours.undisturbed:.3f} and "
        f"{twin.undisturbed:.3f}, {fast.text}; in the median {ours.median:.3f} and {twin.median:.3f}, {median.text}."
    )


def draw_timings(timings: Mapping[str, Timing], *, title: str) -> "Figure":
    """A row of dots for each run, one an epoch, and their median."""
    figure = pictures.new_figure(8.0, 1.5 + 0.6 * len(timings), title=title)
    axes = figure.subplots()
    for place, timing in enumerate(timings.values()):
        spread = np.random.default_rng(place).uniform(-0.22, 0.22, len(timing.seconds))
        color = pictures.COLOURS[place % len(pictures.COLOURS)]
        axes.scatter(timing.seconds, place + spread, s=14, color=color, alpha=0.45, linewidths=0)
        axes.plot([timing.median] * 2, [place - 0.34, place + 0.34], color=color, linewidth=2.5)
        axes.plot([timing.undisturbed] * 2, [place - 0.34, place + 0.34], color=color, linewidth=1.2)
        for seconds in (timing.undisturbed, timing.median):
            axes.annotate(f"{seconds:.3f}", (seconds, place - 0.36), ha="center", va="bottom", fontsize=9)
    highest = max(float(np.percentile(timing.seconds, 98)) for timing in timings.values())
    axes.set(xlim=(0, 1.15 * highest), ylim=(len(timings) - 0.4, -0.75), xlabel="seconds of training")
    axes.set_yticks(range(len(timings)), list(timings))
    axes.grid(axis="x")
    return figure
