"""What `bin/benchmark.py` does."""

from pathlib import Path

from rich.console import Console

from piavae_jax.benchmark.ablation import ablation_systems, check_unchanged, read_ablation
from piavae_jax.benchmark.folder import open_folder
from piavae_jax.benchmark.registry import UPLIFTS, choose_systems
from piavae_jax.benchmark.report import make_report, write_report
from piavae_jax.benchmark.runner import check_held_out, run_systems
from piavae_jax.data.prepared import load_prepared
from piavae_jax.training import run_folder


def run_benchmark(
    data: Path,
    *,
    models: str,
    seeds: int,
    out: Path,
    console: Console,
    command: str,
    ablation: Path | None = None,
) -> None:
    """Run the systems that are not done, and report on all that are there.

    Args:
      data: a prepared data set.
      models: names of systems separated by commas, or "all".
      seeds: runs of each system that draws random numbers.
      out: the benchmark's folder, new or begun on the same data.
      console: where to show what goes on, and the tables.
      command: the command line, to be written down.
      ablation: a file that declares a model and its variants, which are run in place of `models`.

    Raises:
      UserError: a model or a variant cannot be, the data cannot be used, or the folder is another's.
    """
    declared = None if ablation is None else read_ablation(ablation)
    chosen = choose_systems(models) if declared is None else []
    dataset = load_prepared(data)
    check_held_out(dataset)
    systems = chosen if declared is None else ablation_systems(declared, dataset)
    with run_folder.locked(out):
        if declared is not None:
            check_unchanged(declared, dataset, out)
        open_folder(out, dataset, command=command)
        try:
            run_systems(systems, dataset, out, seeds=seeds, console=console)
        except KeyboardInterrupt:
            console.print(f"what is done is in {out}; the same command goes on", highlight=False)
            raise
        report_benchmark(out, console=console)


def report_benchmark(out: Path, *, console: Console) -> None:
    """Write and show the report of what is there.

    Raises:
      UserError: the folder holds no benchmark, or nothing in it is done.
    """
    write_report(make_report(out, uplifts=UPLIFTS), out, console)
