"""Runs small enough to train in a second, and their pages."""

import io
from pathlib import Path

import jax
from rich.console import Console

from piavae_jax.config import validate
from piavae_jax.report.command import report_run
from piavae_jax.training.ensemble import fit_fused
from piavae_jax.training.fit import fit


def train(config, dataset, workdir: Path):
    """Train a config, fused or not."""
    config.data.path = str(dataset.path)
    with jax.numpy_dtype_promotion("standard"):
        (fit_fused if config.fusion.fuses else fit)(validate(config), dataset, workdir)
    return workdir


def write_page(workdir: Path, out: Path, **options) -> tuple[str, str]:
    """Call the command; give the page, and what it printed."""
    console = Console(file=io.StringIO(), width=100)
    with jax.numpy_dtype_promotion("standard"):
        report_run(workdir, out=out, console=console, **options)
    return out.read_text(encoding="utf-8"), console.file.getvalue()
