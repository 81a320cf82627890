"""What `bin/prepare.py` says of a data set that it has prepared."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from piavae_jax.data.known import Check, compare
from piavae_jax.data.manifest import Manifest, SplitCounts
from piavae_jax.data.prepared import PreparedDataset


def print_report(console: Console, dataset: PreparedDataset, *, liang_csv: Path | None) -> None:
    """Print sizes, settings, what was left out, published sizes where known, where the files are and what is next."""
    console.print(_sizes(dataset))
    console.print(_settings(dataset.manifest))
    checks = compare(dataset)
    if checks:
        console.print(_comparison(checks))
    console.print(f"data set: {dataset.path}", highlight=False, markup=False, soft_wrap=True)
    if liang_csv is not None:
        console.print(f"CSV files of Liang et al.: {liang_csv}", highlight=False, markup=False, soft_wrap=True)
    command = f"python bin/train.py --config configs/own.py --config.data.path={dataset.path}"
    console.print(f"next: {command}", highlight=False, markup=False, soft_wrap=True)


def _sizes(dataset: PreparedDataset) -> Table:
    counts = dataset.manifest.counts
    table = Table(title=f"{dataset.name}: {counts.users:,} users, {counts.items:,} items")
    for heading in ("part", "users", "interactions", "targets", "users without target"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    table.add_row("train", f"{counts.train_users:,}", f"{counts.train_interactions:,}", "", "")
    table.add_row("validation", *_split_cells(counts.validation))
    table.add_row("test", *_split_cells(counts.test))
    return table


def _split_cells(counts: SplitCounts) -> list[str]:
    numbers = (counts.users, counts.input_interactions, counts.target_interactions, counts.users_without_target)
    return [f"{number:,}" for number in numbers]


def _settings(manifest: Manifest) -> Table:
    table = Table("setting", "value", title=f"{manifest.source}, protocol {manifest.protocol}", title_justify="left")
    for name, value in manifest.parameters.items():
        table.add_row(name, "every row is positive" if name == "min_rating" and value is None else str(value))
    table.add_row("seed", str(manifest.seed))
    for reason, number in manifest.dropped.items():
        table.add_row(f"dropped: {reason}", f"{number:,}")
    return table


def _comparison(checks: Sequence[Check]) -> Table:
    table = Table(title="published sizes")
    for heading in ("", "published", "here", "agrees"):
        table.add_column(heading, justify="left" if heading in ("", "agrees") else "right", no_wrap=True)
    for check in checks:
        agrees = "[green]yes[/]" if check.agrees else "[bold red]NO[/]"
        table.add_row(check.what, _cell(check.published), _cell(check.here), agrees)
    return table


def _cell(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value[:12]}..."
