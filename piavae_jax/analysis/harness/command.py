"""What `bin/analyze.py` does."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from piavae_jax import cli
from piavae_jax.analysis.harness.folder import check_folder, open_folder
from piavae_jax.analysis.harness.formats import to_rich
from piavae_jax.analysis.harness.gathering import Sources, data_of, gather
from piavae_jax.analysis.harness.material import Material
from piavae_jax.analysis.harness.study import Findings, Study
from piavae_jax.analysis.harness.writing import INDEX, check_study_folder, write_findings, write_index
from piavae_jax.analysis.studies.registry import choose_studies
from piavae_jax.benchmark.formats import format_seconds
from piavae_jax.errors import UserError
from piavae_jax.training import run_folder


class _Line(NamedTuple):
    """What became of a study."""

    study: Study
    state: str
    """Files, or why there are none."""
    seconds: float = 0.0
    failed: bool = False


def run_studies(sources: Sources, *, only: str | None, out: Path, seed: int, console: Console, command: str) -> None:
    """Run studies and write what they find.

    A study that misses something is passed over, with a sentence, unless `only` names it. One that fails is reported,
    and the others go on.

    Args:
      sources: runs and folders.
      only: names of studies separated by commas; None runs all that can be.
      out: the analysis's folder, new or begun on the same data.
      seed: of whatever a study draws.
      console: where to show what goes on, and the tables.
      command: the command line, to be written down.

    Raises:
      UserError: a study is unknown or lacks something, what is passed does not belong together, the folder is
        another's, or a study failed.
    """
    studies = choose_studies(only)
    material = gather(sources, seed=seed, console=console)
    data = data_of(material)
    check_folder(out, data)
    possible, missing = _check(studies, material, out, required=only is not None)
    with run_folder.locked(out, used="written"):
        open_folder(out, data, command=command)
        try:
            lines = [_run(study, material, out, f"{n}/{len(possible)}") for n, study in enumerate(possible, start=1)]
        finally:  # what is done is listed, however the next one ends
            write_index(out, data_name=data["name"])
    console.print(_summary([*lines, *missing]))
    console.print(
        f"written to  {out}\n  {INDEX}, a folder for each study", highlight=False, markup=False, soft_wrap=True
    )
    failed = [line.study.name for line in lines if line.failed]
    if failed:
        raise UserError(
            f"{', '.join(failed)} failed, for the reasons above; mend them and pass --only {','.join(failed)}"
        )


def _check(
    studies: Sequence[Study], material: Material, out: Path, *, required: bool
) -> tuple[list[Study], list[_Line]]:
    """Those that can be run, and lines for the others."""
    possible, missing = [], []
    for study in studies:
        reason = next(filter(None, (need.unmet(material) for need in study.needs)), "")
        if reason and required:
            raise UserError(f"{study.name} cannot be run: {reason}")
        if reason:
            missing.append(_Line(study, f"not run: {reason}"))
        else:
            check_study_folder(out, study)
            possible.append(study)
    if not possible:
        raise UserError(
            f"no study can be run: {missing[0].study.name}: {missing[0].state}; --list says what each needs"
        )
    return possible, missing


def _run(study: Study, material: Material, out: Path, position: str) -> _Line:
    console = material.console
    console.print(f"{position}  [bold]{study.name}[/]  {study.title}", highlight=False, soft_wrap=True)
    started = time.perf_counter()
    try:
        findings = study.run(material)
    except UserError as error:
        material.say(f"failed: {error}")
        return _Line(study, f"failed: {error}", time.perf_counter() - started, failed=True)
    seconds = time.perf_counter() - started
    runs = {label: str(run.path) for label, run in material.runs.items()}
    written = write_findings(out, study, findings, runs=runs, seconds=seconds)
    if written.missing_pictures:
        cli.error_console.print(f"warning: no pictures: {written.missing_pictures}", markup=False)
    _show(findings, console)
    return _Line(study, ", ".join(written.files), time.perf_counter() - started)


def _show(findings: Findings, console: Console) -> None:
    for sentence in findings.sentences:
        console.print(f"    {sentence}", highlight=False, markup=False)
    for table in filter(None, (to_rich(table, console) for table in findings.tables.values())):
        console.print(table)


def _summary(lines: Sequence[_Line]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("study", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("files", overflow="fold")
    for line in lines:
        table.add_row(line.study.name, format_seconds(line.seconds) if line.seconds else "", escape(line.state))
    return table


def list_studies(console: Console) -> None:
    """Show every study and what it needs."""
    table: Any = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("study", "title", "needs"):
        table.add_column(head, overflow="fold")
    for study in choose_studies(None):
        table.add_row(study.name, study.title, ", ".join(need.name for need in study.needs))
    console.print(table)
