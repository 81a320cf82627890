"""The paper's Table 3: quality by how many interactions users have."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from piavae_jax import pictures
from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.needs import RUNS
from piavae_jax.analysis.harness.run_pairs import Pair, pairs_of
from piavae_jax.analysis.harness.seeds import group_seeds
from piavae_jax.analysis.harness.study import Findings, Format, Picture, Study, Table
from piavae_jax.analysis.harness.words import say_difference, say_signed
from piavae_jax.benchmark.formats import metric_title
from piavae_jax.evaluation import (
    PAPER_GROUPS,
    GroupComparison,
    UserMetrics,
    average_runs,
    compare_groups,
    summarize_groups,
)
from piavae_jax.training.session import SELECTION_METRIC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEW = 30
"""Users; intervals of smaller groups may leave the picture, so that they do not hide the others."""
QUALITY, DIFFERENCES = "groups", "differences"
_DEFINITIONS = (
    "A user's interactions are fold-in input and held-out items together; ± is the standard error over the users of a "
    "group.",
    "Differences are paired over users: 95 % bootstrap intervals, t-tests, Holm's correction over all groups and "
    "metrics of a pair.",
)
Compared = Mapping[Pair, Sequence[GroupComparison]]


def run(material: Material) -> Findings:
    """Summarise every system in every group, each user's values averaged over its seeds, and compare systems there."""
    systems = group_seeds(material.runs)
    users = {name: average_runs([material.test_users[label] for label in runs]) for name, runs in systems.items()}
    pairs = pairs_of({name: next(iter(runs.values())) for name, runs in systems.items()})
    compared = {
        pair: compare_groups((pair.system, users[pair.system]), (pair.baseline, users[pair.baseline]))
        for pair in material.track(pairs, "resampling the users of each group")
    }
    tables = {QUALITY: Table("Test users by number of interactions", _quality(users), _FORMATS)}
    drawn = {}
    if compared:
        tables[DIFFERENCES] = Table("Differences in each group", _differences(compared), _FORMATS)
        title = f"Test users of {material.dataset.name}: difference by number of interactions"
        caption = f"Mean differences with 95 % intervals; those of groups under {_FEW} users may leave the picture."
        drawn[DIFFERENCES] = Picture(caption, lambda: draw_differences(compared, title=title))
    sentences = [sentence for pair, rows in compared.items() for sentence in _describe(pair, rows)]
    return Findings((*sentences, *_DEFINITIONS[: 1 + bool(compared)]), tables, drawn)


TABLE3 = Study("table3", "Quality by user group (Table 3)", (RUNS,), run)
_FORMATS: Mapping[str, Format] = {
    "relative": "+.1%",
    **dict.fromkeys(("difference", "low", "high"), say_signed),
}


def _quality(users: Mapping[str, UserMetrics]) -> pl.DataFrame:
    lines = []
    for index, group in enumerate(PAPER_GROUPS):
        for label, metrics in users.items():
            summary = summarize_groups(metrics)[index]
            line: dict[str, Any] = {"interactions": group.label, "run": label, "users": summary.users}
            for metric, value in summary.metrics.items():
                line |= {metric: value.mean, f"{metric}_standard_error": value.standard_error}
            lines.append(line)
    return pl.DataFrame(lines).fill_nan(None)


def _differences(compared: Compared) -> pl.DataFrame:
    lines = []
    for pair, rows in compared.items():
        for group, row in rows:
            line = {"run": pair.system, "baseline": pair.baseline, "interactions": group.label, "metric": row.metric}
            shown = (
                "users",
                "baseline_mean",
                "system_mean",
                "difference",
                "low",
                "high",
                "relative",
                "p_value",
                "p_holm",
            )
            lines.append(line | {name: getattr(row, name) for name in shown})
    return pl.DataFrame(lines)


def _describe(pair: Pair, rows: Sequence[GroupComparison]) -> list[str]:
    chosen = [row for row in rows if row.comparison.metric == SELECTION_METRIC]
    parts = [f"{group.label} interactions {say_difference(row)}, {row.users:,} users" for group, row in chosen]
    sentences = [f"{metric_title(SELECTION_METRIC)} of {pair.system} minus {pair.baseline}: {'; '.join(parts)}."]
    if pair.is_pia and chosen:
        sentences.append(_judge(chosen))
    return sentences


def _judge(chosen: Sequence[GroupComparison]) -> str:
    """The paper's claim about PIA, beside what was found."""
    sure = [group.label for group, row in chosen if row.low > 0]
    worse = [group.label for group, row in chosen if row.high < 0]
    ranked = sorted((row for row in chosen if row.comparison.difference > 0), key=lambda row: -row.comparison.relative)
    gains = " and ".join(group.label for group, _ in ranked[:2])
    text = (
        "The paper (ML-20M) finds that PIA helps every group, those with 5-10 and over 100 interactions most; here the "
        f"interval is above zero for {', '.join(sure) or 'no group'}"
    )
    text += f", below zero for {', '.join(worse)}" if worse else ""
    return f"{text}, and {f'the relative gain is largest for {gains}' if gains else 'no group gains'}."


def draw_differences(compared: Compared, *, title: str) -> "Figure":
    """A panel for each metric: groups from top to bottom, each pair's mean difference with its interval."""
    metrics = list(dict.fromkeys(row.comparison.metric for rows in compared.values() for row in rows))
    groups = list(dict.fromkeys(row.group.label for rows in compared.values() for row in rows))
    figure = pictures.new_figure(3.4 * len(metrics) + 1.2, 1.6 + 0.62 * len(groups) + 0.25 * len(compared), title=title)
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        for number, (pair, rows) in enumerate(compared.items()):
            chosen = [row for row in rows if row.comparison.metric == metric]
            shift = 0.18 * (number - (len(compared) - 1) / 2)
            _draw_pair(axes, chosen, groups, shift=shift, number=number, label=f"{pair.system} minus {pair.baseline}")
        axes.set_xlim(*_limits([row for rows in compared.values() for row in rows if row.comparison.metric == metric]))
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_title(metric_title(metric))
        axes.grid(axis="x")
        axes.locator_params(axis="x", nbins=5)
    users = {row.group.label: row.comparison.users for rows in compared.values() for row in rows}
    panels[0].set_yticks(range(len(groups)), [f"{label}\n{users[label]:,} users" for label in groups])
    panels[0].set_ylim(len(groups) - 0.5, -0.5)
    panels[0].set_ylabel("interactions")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=1)
    return figure


def _limits(rows: Sequence[GroupComparison]) -> tuple[float, float]:
    """From the lowest to the highest end of an interval and zero, small groups left out where there are others."""
    large = [row.comparison for row in rows if row.comparison.users >= _FEW] or [row.comparison for row in rows]
    low, high = min(0.0, *(row.low for row in large)), max(0.0, *(row.high for row in large))
    margin = 0.15 * (high - low) or 0.01
    return low - margin, high + margin


def _draw_pair(
    axes: Any, rows: Sequence[GroupComparison], groups: Sequence[str], *, shift: float, number: int, label: str
) -> None:
    means = [row.comparison.difference for row in rows]
    lows = [row.comparison.difference - row.comparison.low for row in rows]
    highs = [row.comparison.high - row.comparison.difference for row in rows]
    places = [groups.index(row.group.label) + shift for row in rows]
    color, marker = pictures.COLOURS[number % 7], pictures.MARKERS[number % 7]
    axes.errorbar(means, places, xerr=[lows, highs], fmt=marker, color=color, markersize=5, capsize=2.5, label=label)
