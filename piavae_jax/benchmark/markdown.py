"""A benchmark's results as a Markdown page."""

from collections.abc import Iterable, Sequence
from typing import Any

from piavae_jax.benchmark.formats import format_mean, format_p, format_score, metric_title
from piavae_jax.benchmark.summary import Row
from piavae_jax.benchmark.tables import best_means, cells_of, describe_users, failures_text, metrics_of
from piavae_jax.evaluation import Comparison

_COLUMNS = ("deviation over seeds (nDCG@100)", "seeds", "training", "parameters")
_UPLIFT_COLUMNS = ("system", "baseline", "metric", "difference", "relative", "95 % interval", "p", "p (Holm)")
_UPLIFT_NOTE = (
    "Paired over users, the interval a bootstrap over users, p by paired t-test, Holm's correction over all pairs of "
    "systems of a metric."
)


def to_markdown(
    info: dict[str, Any], rows: Sequence[Row], uplifts: Sequence[Comparison], *, picture: str | None
) -> str:
    """The page: data, results, declared comparisons, the picture of all pairs, how it was made."""
    parts = [
        f"# Benchmark on {info['data']['name']}",
        _describe_data(info["data"]),
        _results(rows),
        f"{describe_users(rows)}. Training and parameters are those of one run.",
        "\n".join(f"- {line}" for line in failures_text(rows)),
        *([f"## Comparisons\n\n{_uplifts(uplifts)}\n\n{_UPLIFT_NOTE}"] if uplifts else []),
        *([f"## All pairs\n\n![Differences in nDCG@100 between all pairs of systems]({picture})"] if picture else []),
        "## Made by",
        "\n".join(map(_describe_session, info["sessions"])),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _describe_data(data: dict[str, Any]) -> str:
    return (
        f"{data['train_users']:,} training users with {data['train_interactions']:,} interactions, {data['items']:,} "
        f"items; {data['validation_users']:,} validation and {data['test_users']:,} test users. Data digest "
        f"`{data['digest'][:16]}`."
    )


def _results(rows: Sequence[Row]) -> str:
    metrics, best = metrics_of(rows), best_means(rows)
    lines = [[row.label, *(_value(row, metric, best[metric]) for metric in metrics), *cells_of(row)] for row in rows]
    return markdown_table(["system", *map(metric_title, metrics), *_COLUMNS], lines, left=1)


def _value(row: Row, metric: str, best: float) -> str:
    if not row.metrics:
        return ""
    text = format_mean(row.metrics[metric])
    return f"**{text}**" if row.metrics[metric].mean == best else text


def _uplifts(uplifts: Iterable[Comparison]) -> str:
    lines = [
        [
            row.system,
            row.baseline,
            metric_title(row.metric),
            format_score(row.difference, sign=True),
            f"{row.relative:+.1%}",
            f"{format_score(row.low, sign=True)} to {format_score(row.high, sign=True)}",
            format_p(row.p_value),
            format_p(row.p_holm),
        ]
        for row in uplifts
    ]
    return markdown_table(_UPLIFT_COLUMNS, lines, left=3)


def markdown_table(header: Sequence[str], lines: Iterable[Sequence[str]], *, left: int) -> str:
    """A Markdown table whose first columns are flush left, the others right."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join(f"| {' | '.join(map(_escape, line))} |" for line in [header, rule, *lines])


def _escape(cell: str) -> str:
    return cell.replace("|", r"\|")


def _describe_session(session: dict[str, Any]) -> str:
    machine, versions = session["machine"], session["versions"]
    return (
        f"- `{session['command']}`, {session['date'][:10]}, {machine['system']}, {machine['cores']} cores, "
        f"{machine['device']}, Python {session['python']}, piavae-jax {versions['piavae-jax']}, jax {versions['jax']}"
    )
