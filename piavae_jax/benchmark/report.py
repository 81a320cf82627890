"""A benchmark's tables and picture, from what its folder holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from rich.console import Console

from piavae_jax.benchmark.comparisons import compare_all, oriented
from piavae_jax.benchmark.folder import read_info
from piavae_jax.benchmark.markdown import to_markdown
from piavae_jax.benchmark.matrix import draw_matrix
from piavae_jax.benchmark.records import read_records
from piavae_jax.benchmark.summary import Row, summarize_systems
from piavae_jax.benchmark.tables import failures_text, results_tables, uplifts_table
from piavae_jax.data.atomic import new_file
from piavae_jax.data.json_files import write_json, write_text
from piavae_jax.errors import UserError
from piavae_jax.evaluation import Comparison
from piavae_jax.training.session import SELECTION_METRIC

RESULTS, COMPARISONS = "results", "comparisons"
PICTURE = f"{COMPARISONS}.png"


class Report(NamedTuple):
    """All that is known of a benchmark."""

    info: dict[str, Any]
    """`benchmark.json`."""
    rows: list[Row]
    """Best test nDCG@100 first."""
    comparisons: list[Comparison]
    """Of each system with each one after it, for each metric, by name."""
    uplifts: list[Comparison]
    """Of the declared pairs, and of each variant with what it is a variant of; with their labels."""


def make_report(root: Path, *, uplifts: Sequence[tuple[str, str]]) -> Report:
    """Read a benchmark's folder and compare what is there.

    Args:
      root: the folder.
      uplifts: pairs of a system with PIA and the one without; those that are not both there are left out. Variants
        follow, each with what it is a variant of.

    Raises:
      UserError: the folder holds no benchmark, no run in it has ended, or a file is damaged.
    """
    info, records = read_info(root), read_records(root)
    rows = summarize_systems(records)
    users = {row.system: row.users for row in rows if row.users is not None}
    if not rows:
        raise UserError(f"{root} holds no run that has ended: run the benchmark without --report-only")
    comparisons = compare_all(users)
    labels = {row.system: row.label for row in rows}
    variants = {(record.system, record.baseline): None for record in records if record.baseline}
    named = [
        row._replace(system=labels[row.system], baseline=labels[row.baseline])
        for pair in (*uplifts, *variants)
        for row in oriented(comparisons, *pair)
    ]
    return Report(info, rows, comparisons, named)


def write_report(report: Report, root: Path, console: Console) -> None:
    """Write `results.md`, `.csv` and `.json`, `comparisons.csv` and `.png`, and show the tables."""
    picture = _draw(report, root, console)
    write_text(root / f"{RESULTS}.md", to_markdown(report.info, report.rows, report.uplifts, picture=picture))
    write_json(root / f"{RESULTS}.json", _to_json(report))
    write_text(root / f"{RESULTS}.csv", pl.DataFrame([_flat(row) for row in report.rows], strict=False).write_csv())
    table = pl.DataFrame(report.comparisons, schema=list(Comparison._fields), orient="row")
    write_text(root / f"{COMPARISONS}.csv", table.write_csv())
    _show(report, console)
    written = [f"{RESULTS}.md, .csv, .json", f"{COMPARISONS}.csv", *([picture] if picture else [])]
    console.print(f"written to  {root}\n  {', '.join(written)}", highlight=False, markup=False, soft_wrap=True)


def _draw(report: Report, root: Path, console: Console) -> str | None:
    """The picture's file name; None where there is nothing to draw, or nothing to draw it with."""
    means = {row.system: row.metrics[SELECTION_METRIC].mean for row in report.rows if row.metrics}
    labels = {row.system: row.label for row in report.rows}
    rows = [row for row in report.comparisons if row.metric == SELECTION_METRIC]
    if rows:
        try:
            with new_file(root / PICTURE) as staged:
                draw_matrix(means, rows, staged, labels=labels, title=report.info["data"]["name"])
            return PICTURE
        except UserError as error:
            console.print(f"no {PICTURE}: {error}", highlight=False, markup=False)
    (root / PICTURE).unlink(missing_ok=True)  # of fewer runs
    return None


def _show(report: Report, console: Console) -> None:
    for table in results_tables(report.rows, title=f"test users of {report.info['data']['name']}", console=console):
        console.print(table)
    if report.uplifts:
        console.print(uplifts_table(report.uplifts))
    for line in failures_text(report.rows):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _flat(row: Row) -> dict[str, Any]:
    """A system as one line of numbers; empty where no run is done."""
    cells: dict[str, Any] = {"system": row.system, "label": row.label, "family": row.family}
    cells |= {"seeds": len(row.done), "failed": len(row.failed)}
    for metric, summary in row.metrics.items():
        cells |= {
            metric: summary.mean,
            f"{metric}_standard_error": summary.standard_error,
            f"{metric}_seed_deviation": _known(row.seed_deviation(metric)),
            f"{metric}_validation": row.validation(metric),
        }
    if row.done:
        cells |= {"train_seconds": row.train_seconds, "parameters": row.parameters}
    return cells


def _known(value: float) -> float | None:
    return value if value == value else None  # NaN differs from itself


def _to_json(report: Report) -> dict[str, Any]:
    return {
        **report.info,
        "systems": [_flat(row) | {"runs": _runs(row)} for row in report.rows],
        "uplifts": [row._asdict() for row in report.uplifts],
    }


def _runs(row: Row) -> list[dict[str, Any]]:
    done = [
        {
            "seed": record.seed,
            "test": {metric: summary.mean for metric, summary in outcome.test.summaries().items()},
            "train_seconds": outcome.train_seconds,
            "settings": outcome.settings,
        }
        for record, outcome in zip(row.done, row.outcomes, strict=True)
    ]
    return done + [{"seed": record.seed, "error": record.error} for record in row.failed]
