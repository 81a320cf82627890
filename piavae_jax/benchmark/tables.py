"""A benchmark's results as tables for the console."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from piavae_jax.benchmark.formats import format_count, format_mean, format_score, format_seconds, metric_title
from piavae_jax.benchmark.summary import Row
from piavae_jax.evaluation import Comparison, comparisons_table
from piavae_jax.training.session import SELECTION_METRIC

_COSTS = ("sd over\nseeds", "seeds", "training", "parameters")
_ANY_WIDTH = 1000


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """Labels of all metrics."""
    return list(dict.fromkeys(metric for row in rows for metric in row.metrics))


def best_means(rows: Sequence[Row]) -> dict[str, float]:
    """The highest mean of each metric."""
    return {metric: max(row.metrics[metric].mean for row in rows if row.metrics) for metric in metrics_of(rows)}


def cells_of(row: Row) -> list[str]:
    """What follows a system's metrics: deviation over seeds, seeds, training time, parameters."""
    if not row.done:
        return ["", "failed", "", ""]
    seeds = f"{len(row.done)} of {len(row.done) + len(row.failed)}" if row.failed else str(len(row.done))
    deviation = format_score(row.seed_deviation(SELECTION_METRIC))
    return [deviation, seeds, format_seconds(row.train_seconds), format_count(row.parameters)]


def describe_users(rows: Sequence[Row]) -> str:
    """Whom the means are over."""
    users = next((row.users for row in rows if row.users is not None), None)
    if users is None:
        return "no run is done"
    left_out = int((users.num_target == 0).sum())
    return (
        f"{len(users) - left_out:,} test users, {left_out:,} left out for want of held-out items; ± is the standard "
        "error over users, each one's values averaged over the seeds first"
    )


def failures_text(rows: Sequence[Row]) -> list[str]:
    """A line for each run that failed."""
    return [f"{record.label}, seed {record.seed}, failed: {record.error}" for row in rows for record in row.failed]


def results_tables(rows: Sequence[Row], *, title: str, console: Console) -> list[Table]:
    """A row for each system, the best value of each metric in bold: one table or, on a narrow console, two."""
    best = best_means(rows)
    quality = {metric_title(metric): [_value(row, metric, best[metric]) for row in rows] for metric in best}
    cost = {head: [cells_of(row)[place] for row in rows] for place, head in enumerate(_COSTS)}
    whole = _table(rows, quality | cost, title)
    fits = console.measure(whole, options=console.options.update(width=_ANY_WIDTH)).maximum <= console.width
    tables = [whole] if fits else [_table(rows, quality, title), _table(rows, cost, None)]
    tables[-1].caption = describe_users(rows)
    return tables


def _table(rows: Sequence[Row], columns: Mapping[str, Sequence[str]], title: str | None) -> Table:
    """Columns of one cell a row, by their heads, behind the systems' labels."""
    table = Table(
        title=title and escape(title), box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left", caption_justify="left"
    )
    # A narrow console wraps cells; it must never cut a number short.
    table.add_column("system", overflow="fold")
    for head in columns:
        table.add_column(head, justify="right", overflow="fold")
    for row, *cells in zip(rows, *columns.values(), strict=True):
        table.add_row(escape(row.label), *cells)
    return table


def _value(row: Row, metric: str, best: float) -> str:
    if not row.metrics:
        return ""
    text = format_mean(row.metrics[metric])
    return f"[bold]{text}[/]" if row.metrics[metric].mean == best else text


def uplifts_table(uplifts: Sequence[Comparison]) -> Table:
    """A row for each declared pair, or variant and its model, and metric."""
    title = "comparisons: 95 % bootstrap interval, t-test, Holm over all pairs"
    return comparisons_table([row._replace(metric=metric_title(row.metric)) for row in uplifts], title=title)
