"""Results as tables for the console."""

import math
from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from piavae_jax.evaluation.groups import PAPER_GROUPS, GroupSummary, UserGroup, summarize_groups
from piavae_jax.evaluation.results import MetricSummary, UserMetrics
from piavae_jax.evaluation.significance import Comparison


def format_summary(summary: MetricSummary, digits: int = 4) -> str:
    """Mean ± standard error, such as "0.4132 ± 0.0061"; "-" where no user has a value."""
    if math.isnan(summary.mean):
        return "-"
    mean = f"{summary.mean:.{digits}f}"
    return mean if math.isnan(summary.standard_error) else f"{mean} ± {summary.standard_error:.{digits}f}"


def systems_table(systems: Mapping[str, UserMetrics], *, title: str | None = None) -> Table:
    """A row for each system: each metric's mean ± standard error; below, the users behind it."""
    labels = _labels(systems.values())
    table = _table(["system"], labels, title)
    for name, metrics in systems.items():
        summaries = metrics.summaries()
        table.add_row(
            escape(name), *(format_summary(summaries[label]) if label in summaries else "" for label in labels)
        )
    table.caption = "; ".join(dict.fromkeys(map(_describe_users, systems.values())))
    return table


def groups_table(
    systems: Mapping[str, UserMetrics], groups: Sequence[UserGroup] = PAPER_GROUPS, *, title: str | None = None
) -> Table:
    """A row for each group and system (the layout of the paper's Table 3); groups are by number of interactions."""
    labels = _labels(systems.values())
    table = _table(["history", "system"], [*labels, "users"], title)
    by_system = {name: summarize_groups(metrics, groups) for name, metrics in systems.items()}
    for index, group in enumerate(groups):
        for name, summaries in by_system.items():
            table.add_row(group.label, escape(name), *_group_cells(summaries[index], labels))
        table.add_section()
    return table


def comparisons_table(comparisons: Sequence[Comparison], *, title: str | None = None) -> Table:
    """A row for each comparison: difference with its interval, relative uplift, p-values."""
    pairs = {(row.system, row.baseline) for row in comparisons}
    names = ["system", "baseline"] if len(pairs) > 1 else []
    table = _table([*names, "metric"], ["difference", "interval", "relative", "p", "p (Holm)"], title)
    for row in comparisons:
        table.add_row(
            *(escape(getattr(row, name)) for name in names),
            row.metric,
            f"{row.difference:+.4f}",
            f"{row.low:+.4f} to {row.high:+.4f}",
            f"{row.relative:+.2%}",
            _format_p(row.p_value),
            _format_p(row.p_holm),
        )
    if len(pairs) == 1:
        table.caption = escape(" minus ".join(next(iter(pairs))))
    return table


def _describe_users(metrics: UserMetrics) -> str:
    left_out = int((metrics.num_target == 0).sum())
    return f"{len(metrics) - left_out:,} users, {left_out:,} left out for want of held-out items"


def _group_cells(summary: GroupSummary, labels: Sequence[str]) -> list[str]:
    cells = [format_summary(summary.metrics[label], digits=3) if label in summary.metrics else "" for label in labels]
    return [*(cell.replace("0.", ".") for cell in cells), f"{summary.users:,}"]  # six columns in 80 characters


def _labels(systems: Iterable[UserMetrics]) -> list[str]:
    return list(dict.fromkeys(label for metrics in systems for label in metrics.values))


def _table(left: Sequence[str], right: Sequence[str], title: str | None) -> Table:
    table = Table(
        title=title and escape(title), box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left", caption_justify="left"
    )
    # A narrow console wraps cells; it must never cut a number short.
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", overflow="fold")
    return table


def _format_p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
