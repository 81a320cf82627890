"""What `bin/benchmark.py` does."""

from pathlib import Path

from rich.console import Console

from piavae_jax.benchmark.ablation import check_unchanged
from piavae_jax.benchmark.folder import check_folder, open_folder
from piavae_jax.benchmark.parallel import leave_device, run_systems_at_once
from piavae_jax.benchmark.plan import Plan, resolve
from piavae_jax.benchmark.registry import UPLIFTS
from piavae_jax.benchmark.report import make_report, write_report
from piavae_jax.benchmark.runner import check_held_out, run_systems
from piavae_jax.training import run_folder


def run_benchmark(plan: Plan, *, seeds: int, console: Console, command: str, processes: int = 1) -> None:
    """Run the systems that are not done, and report on all that are there.

    Args:
      plan: which systems on which data; the folder is new or begun on the same data.
      seeds: runs of each system that draws random numbers.
      console: where to show what goes on, and the tables.
      command: the command line, to be written down.
      processes: runs at a time.

    Raises:
      UserError: a model or a variant cannot be, the data cannot be used, or the folder is another's.
    """
    leave_device(processes)
    dataset, systems, ablation = resolve(plan)
    check_held_out(dataset)
    with run_folder.locked(plan.out):
        check_folder(plan.out, dataset)
        if ablation is not None:
            check_unchanged(ablation, dataset, plan.out)
        open_folder(plan.out, dataset, command=command)
        try:
            if processes > 1:
                run_systems_at_once(systems, plan, seeds=seeds, processes=processes, console=console)
            else:
                run_systems(systems, dataset, plan.out, seeds=seeds, console=console)
        except KeyboardInterrupt:
            console.print(f"what is done is in {plan.out}; the same command goes on", highlight=False, markup=False)
            raise
        report_benchmark(plan.out, console=console)


def report_benchmark(out: Path, *, console: Console) -> None:
    """Write and show the report of what is there.

    Raises:
      UserError: the folder holds no benchmark, or nothing in it is done.
    """
    write_report(make_report(out, uplifts=UPLIFTS), out, console)
