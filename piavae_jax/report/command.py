"""What `bin/report.py` does."""

from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from piavae_jax.data.atomic import new_file
from piavae_jax.errors import UserError
from piavae_jax.report.findings import Findings, find
from piavae_jax.report.page import render
from piavae_jax.training.evaluate_runs import load_data_of
from piavae_jax.training.restore import restore

_SUFFIXES = (".html", ".htm")


def report_run(workdir: Path, *, out: Path, data: Path | None = None, console: Console) -> None:
    """Measure a run on its test users and write the page.

    Args:
      workdir: the run folder.
      out: the page; what is there is replaced.
      data: a prepared data set; by default the one that the run was trained on.
      console: where to tell what goes on, and the warnings.

    Raises:
      UserError: a folder is no run or no data set, they do not belong together, or `out` is no HTML file.
    """
    if out.suffix.lower() not in _SUFFIXES or out.is_dir():
        raise UserError(f"--out must name an HTML file, got {out}; pass e.g. report.html")
    with console.status("restoring the run") as status:
        trained = restore(workdir)
        dataset = load_data_of(trained.run, data)
        findings = find(trained, dataset, tell=status.update)
        status.update("writing")
        page = render(findings, created=datetime.now(UTC))
        with new_file(out) as staged:
            staged.write_text(page, encoding="utf-8")
    _show(findings, console)
    size = f"{len(page.encode()) / 1e3:,.0f} kB"
    console.print(f"written to  {out}  ({size})", highlight=False, markup=False, soft_wrap=True)


def _show(findings: Findings, console: Console) -> None:
    for check in findings.checks:
        if check.fires:
            console.print(f"[bold yellow]warning[/]  {check.name}: {check.number}", highlight=False, soft_wrap=True)
    fired = sum(bool(check.fires) for check in findings.checks)
    applied = sum(check.fires is not None for check in findings.checks)
    console.print(f"{fired} of {applied} checks of {findings.name} on {findings.manifest.name} ended in a warning")
