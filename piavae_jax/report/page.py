"""The page, from what was measured."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from piavae_jax import config as configs
from piavae_jax.benchmark.formats import format_count, format_p, format_seconds, metric_title
from piavae_jax.evaluation import PAPER_GROUPS
from piavae_jax.report.charts import IntervalChart, interval_chart
from piavae_jax.report.findings import HISTORY, LIST_LENGTH, Findings
from piavae_jax.report.names import has_titles
from piavae_jax.report.numbers import interval, percent, score
from piavae_jax.report.systems import EASE, EASE_MAX_ITEMS, Interval, interval_of
from piavae_jax.report.training_history import draw_history
from piavae_jax.training.run_folder import read_environment
from piavae_jax.training.session import SELECTION_METRIC


class _Group(NamedTuple):
    label: str
    users: int
    results: list[Interval]
    """Of each system."""


def render(findings: Findings, *, created: datetime) -> str:
    """Write the page; everything that it needs is in it."""
    environment = Environment(
        loader=PackageLoader("piavae_jax.report"),
        autoescape=True,  # titles are anyone's
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": format_count,
        "score": score,
        "p": format_p,
        "seconds": format_seconds,
        "percent": percent,
        "metric": metric_title,
    }
    return environment.get_template("report.html.jinja").render(_context(findings, created))


def _context(findings: Findings, created: datetime) -> dict[str, Any]:
    run, groups = findings.run, _groups(findings)
    return {
        **findings._asdict(),
        "config": run.config,
        "settings": json.dumps(configs.to_dict(run.config), indent=2),
        "environment": read_environment(run),
        "created": f"{created:%d %B %Y, %H:%M} UTC",
        "fused": run.config.fusion.fuses,
        "selection": SELECTION_METRIC,
        "metrics": list(findings.systems[0].intervals),
        "titles": has_titles(run.vocabulary),
        "train_users": findings.train_users,
        "curves": draw_history(findings.history.records),
        "interval_charts": [_systems_chart(findings, metric) for metric in findings.systems[0].intervals],
        "groups": groups,
        "groups_chart": _groups_chart(groups),
        "verdict": _verdict(findings),
        "fired": [check for check in findings.checks if check.fires],
        "list_length": LIST_LENGTH,
        "own_histories": HISTORY,
        "ease_left_out": all(system.scorer.name != EASE for system in findings.systems),
        "ease_max_items": EASE_MAX_ITEMS,
        "left_out": int(np.count_nonzero(findings.systems[0].users.num_target == 0)),
    }


def _verdict(findings: Findings) -> list[str]:
    """A sentence on each baseline."""
    sentences = []
    for row in findings.comparisons:
        if row.metric != SELECTION_METRIC:
            continue
        bounds = f"95\u00a0% interval {interval(row.low, row.high, sign=True)}"
        size = score(abs(row.difference))
        if row.low > 0.0:
            sentences.append(f"That is {size} above {row.baseline} ({bounds}).")
        elif row.high < 0.0:
            sentences.append(f"That is {size} below {row.baseline} ({bounds}).")
        else:
            sentences.append(
                f"From {row.baseline} it cannot be told apart ({score(row.difference, sign=True)}, {bounds})."
            )
    return sentences


def _systems_chart(findings: Findings, metric: str) -> IntervalChart:
    entries = [
        _entry(system.scorer.name, system.intervals[metric], number) for number, system in enumerate(findings.systems)
    ]
    return interval_chart(entries, title=metric_title(metric))


def _entry(label: str, result: Interval, kind: int) -> tuple[str, float, float, float, int, str]:
    return label, result.mean, result.low, result.high, kind, score(result.mean)


def _groups(findings: Findings) -> list[_Group]:
    """Users by history length, in the paper's groups; those without a scored user are left out."""
    users = findings.systems[0].users
    history = users.num_input + users.num_target
    groups = []
    for group in PAPER_GROUPS:
        members = group.members(history) & (users.num_target > 0)
        if members.any():
            results = [interval_of(system.users[SELECTION_METRIC][members]) for system in findings.systems]
            groups.append(_Group(group.label, int(np.count_nonzero(members)), results))
    return groups


def _groups_chart(groups: Sequence[_Group]) -> IntervalChart | None:
    entries = [
        _entry(group.label if number == 0 else "", result, number)
        for group in groups
        for number, result in enumerate(group.results)
    ]
    title = f"{metric_title(SELECTION_METRIC)} by number of interactions"
    return interval_chart(entries, title=title, gap_after=len(groups[0].results)) if groups else None
