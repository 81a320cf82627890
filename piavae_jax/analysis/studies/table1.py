"""The paper's Table 1: all systems on one data set, and what PIA adds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from piavae_jax import pictures
from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.needs import BENCHMARK
from piavae_jax.analysis.harness.study import Findings, Format, Picture, Study, Table
from piavae_jax.analysis.harness.words import say_difference, say_signed
from piavae_jax.analysis.studies.published import TABLE1, Quality, identify
from piavae_jax.benchmark.formats import format_score, metric_title
from piavae_jax.benchmark.registry import SYSTEMS, UPLIFTS
from piavae_jax.benchmark.report import Report, make_report
from piavae_jax.benchmark.summary import Row
from piavae_jax.benchmark.tables import describe_users, failures_text
from piavae_jax.errors import UserError
from piavae_jax.evaluation import Comparison
from piavae_jax.training.session import SELECTION_METRIC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SYSTEMS_TABLE, UPLIFTS_TABLE = "systems", "uplifts"
_PIA = (("multvae_pia", "multvae"), ("recvae_pia", "recvae"))
_ORDER = ("popularity", "linear", "ranking", "vae", "fusion")
"""Families from top to bottom."""
Published = Mapping[str, Quality]


def run(material: Material) -> Findings:
    """Read the benchmark, and set the paper's numbers beside ours where the data are the same."""
    assert material.benchmark is not None, "the study needs it"
    material.say("comparing all pairs of systems")
    report = make_report(material.benchmark, uplifts=UPLIFTS)
    data = report.info["data"]
    name = identify(train_users=data["train_users"], items=data["items"])
    published = TABLE1[name] if name else {}
    rows = sorted((row for row in report.rows if row.metrics), key=lambda row: (_ORDER.index(row.family), _place(row)))
    if not rows:
        raise UserError(f"every run of {material.benchmark} has failed: see what bin/benchmark.py said")
    tables = {SYSTEMS_TABLE: Table(f"Test users of {data['name']}", _systems(rows, published))}
    uplifts = _uplifts(report, published)
    if uplifts is not None:
        tables[UPLIFTS_TABLE] = Table("Uplifts, paired over users", uplifts, _FORMATS)
    caption = "Test nDCG@100, mean and standard error over users; hollow where the paper reports it for these data."
    title = f"nDCG@100 on {data['name']}"
    picture = Picture(caption, lambda: draw_systems(rows, published, title=title))
    return Findings(tuple(_sentences(report, rows, published)), tables, {SYSTEMS_TABLE: picture})


TABLE1_STUDY = Study("table1", "All systems, and the uplift of PIA (Table 1)", (BENCHMARK,), run)
_FORMATS: Mapping[str, Format] = {
    **dict.fromkeys(("difference", "low", "high"), say_signed),
    **dict.fromkeys(("relative", "published"), "+.1%"),
}


def _place(row: Row) -> int:
    names = list(SYSTEMS)
    return names.index(row.system) if row.system in names else len(names)


def _systems(rows: Sequence[Row], published: Published) -> pl.DataFrame:
    lines = []
    for row in rows:
        line: dict[str, Any] = {"family": row.family, "system": row.label}
        theirs = published[row.system].by_label() if row.system in published else {}
        for metric, summary in row.metrics.items():
            line |= {metric: summary.mean, f"{metric}_standard_error": summary.standard_error}
            line |= {f"published_{metric}": theirs.get(metric)} if published else {}
        lines.append(line | {"seeds": len(row.done)})
    return pl.DataFrame(lines, infer_schema_length=None)


def _uplifts(report: Report, published: Published) -> pl.DataFrame | None:
    names = {row.label: row.system for row in report.rows}
    shown = ("difference", "low", "high", "relative", "p_value", "p_holm")
    lines = []
    for row in report.uplifts:
        line: dict[str, Any] = {"system": row.system, "baseline": row.baseline, "metric": row.metric}
        line |= {name: getattr(row, name) for name in shown}
        line |= {"published": _published_uplift(row, names, published)} if published else {}
        lines.append(line)
    return pl.DataFrame(lines, infer_schema_length=None) if lines else None


def _published_uplift(row: Comparison, names: Mapping[str, str], published: Published) -> float | None:
    pair = (names[row.system], names[row.baseline])
    if not all(name in published for name in pair):
        return None
    new, old = (published[name].by_label().get(row.metric) for name in pair)
    return new / old - 1 if new and old else None


def _sentences(report: Report, rows: Sequence[Row], published: Published) -> list[str]:
    names = {row.label: row.system for row in report.rows}
    best = max(rows, key=lambda row: row.metrics[SELECTION_METRIC].mean)
    sentences = [f"Best nDCG@100: {best.label}, {format_score(best.metrics[SELECTION_METRIC].mean)}."]
    for row in report.uplifts:
        pair = (names[row.system], names[row.baseline])
        if row.metric == SELECTION_METRIC and pair in _PIA:
            theirs = ", ".join(f"{_gain(TABLE1[data], pair):+.1%} on {title}" for data, title in _DATA.items())
            sentences.append(
                f"{metric_title(row.metric)} of {row.system} minus {row.baseline}: {say_difference(row)}, "
                f"{row.relative:+.1%}; the paper has {theirs}."
            )
    if not published:
        sentences.append("The paper has no numbers for these data, so that the table shows ours alone.")
    return [
        *sentences,
        *(f"{text}." for text in failures_text(report.rows)),
        f"{describe_users(report.rows)}. Uplifts have 95 % bootstrap intervals over users, p-values of paired t-tests, "
        "and Holm's correction over all pairs of systems.",
    ]


_DATA = {"ml-20m": "ML-20M", "netflix": "Netflix", "msd": "MSD"}


def _gain(published: Published, pair: tuple[str, str]) -> float:
    return published[pair[0]].ndcg_100 / published[pair[1]].ndcg_100 - 1


def draw_systems(rows: Sequence[Row], published: Published, *, title: str) -> "Figure":
    """A line for each system, by family and best last."""
    ordered = sorted(rows, key=lambda row: (_ORDER.index(row.family), row.metrics[SELECTION_METRIC].mean))
    figure = pictures.new_figure(7.6, 1.3 + 0.31 * len(ordered), title=title)
    axes = figure.subplots()
    families = list(dict.fromkeys(row.family for row in ordered))
    low, high = _limits(ordered)
    axes.set_xlim(low, high)
    for place, row in enumerate(ordered):
        summary = row.metrics[SELECTION_METRIC]
        color = pictures.COLOURS[_ORDER.index(row.family)]
        if summary.mean < low:
            axes.annotate(
                f"◂ {format_score(summary.mean)}",
                (low, place),
                (4, 0),
                color=color,
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
            continue
        axes.errorbar(summary.mean, place, xerr=summary.standard_error, fmt="o", color=color, capsize=3, markersize=6)
        axes.annotate(
            format_score(summary.mean), (summary.mean + summary.standard_error, place), (6, 0),
            textcoords="offset points", va="center", fontsize=9,
        )  # fmt: skip
        if row.system in published:
            axes.plot(published[row.system].ndcg_100, place, "D", color=color, markerfacecolor="white", markersize=6)
    for family in families[1:]:
        axes.axhline([row.family for row in ordered].index(family) - 0.5, color="0.85", linewidth=0.8)
    axes.set_yticks(range(len(ordered)), [row.label for row in ordered])
    axes.set(ylim=(-0.7, len(ordered) - 0.3), xlabel=f"test {metric_title(SELECTION_METRIC)} ± standard error")
    axes.grid(axis="x")
    return figure


def _limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Of the systems that learn, where there are any, so that popularity does not crowd them."""
    learned = [row for row in rows if row.family != "popularity"] or rows
    means = [row.metrics[SELECTION_METRIC] for row in learned]
    low, high = min(m.mean - m.standard_error for m in means), max(m.mean + m.standard_error for m in means)
    margin = 0.2 * (high - low)
    return max(low - margin, 0.0), high + margin
