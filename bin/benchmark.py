"""Run systems on one data set under one protocol, and compare them user by user.

    python bin/benchmark.py --data data/ml1m --models all --seeds 5 --out runs/benchmark-ml1m
    python bin/benchmark.py --data data/ml1m --models multvae,multvae_pia --out runs/benchmark-ml1m
    python bin/benchmark.py --data data/ml1m --ablation configs/ablation_multvae.py --seeds 5 --out runs/ablation-ml1m
    python bin/benchmark.py --data data/ml1m --seeds 5 --processes 8 --out runs/benchmark-ml1m
    python bin/benchmark.py --report-only --out runs/benchmark-ml1m

Each system is trained with every seed, chooses on validation users what there is to choose, and is measured once on
test users. OUT gets results.md, results.csv and results.json, comparisons.csv and comparisons.png of all pairs, and
each user's values in OUT/SYSTEM/seed-K. Called again it passes over what is done and goes on where it was stopped.
--processes makes several runs at a time, on one GPU or each on its share of the cores; training times are then those of
a shared machine.
"""

import argparse
import shlex
import sys
from pathlib import Path

from piavae_jax import cli
from piavae_jax.errors import UserError


def _parse() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a prepared data set")
    parser.add_argument(
        "--models", help="all (the default), or names separated by commas; a wrong one is answered with a list"
    )
    parser.add_argument(
        "--ablation", type=Path, metavar="FILE", help="a model and its variants, declared in FILE, in place of --models"
    )
    parser.add_argument("--seeds", type=int, metavar="K", help="train with the seeds 0 to K - 1 (default: 1)")
    parser.add_argument("--processes", type=int, metavar="N", help="runs at a time (default: 1)")
    parser.add_argument("--out", type=Path, required=True, help="the benchmark's folder")
    parser.add_argument("--report-only", action="store_true", help="remake tables and picture of what is there")
    return parser.parse_args()


def _check(arguments: argparse.Namespace) -> None:
    if arguments.report_only:
        for name in ("data", "models", "ablation", "seeds", "processes"):
            if getattr(arguments, name) is not None:
                raise UserError(f"--report-only reports on all that is in --out: leave --{name} out")
    elif arguments.data is None:
        raise UserError("--data is missing: pass a prepared data set, or --report-only")
    elif arguments.models is not None and arguments.ablation is not None:
        raise UserError("--models and --ablation exclude one another: pass one; both may share an --out")
    elif arguments.seeds is not None and arguments.seeds < 1:
        raise UserError(f"--seeds must be at least 1, got {arguments.seeds}: 5 shows how much they matter")
    elif arguments.processes is not None and arguments.processes < 1:
        raise UserError(f"--processes must be at least 1, got {arguments.processes}: no more than cores")


def main() -> None:
    """Run and report."""
    arguments = _parse()
    _check(arguments)
    from piavae_jax.benchmark.command import report_benchmark, run_benchmark
    from piavae_jax.benchmark.plan import Plan

    if arguments.report_only:
        report_benchmark(arguments.out, console=cli.console)
        return
    cli.keep_compiled_programs()
    run_benchmark(
        Plan(
            arguments.data, arguments.out, "all" if arguments.models is None else arguments.models, arguments.ablation
        ),
        seeds=arguments.seeds or 1,
        processes=arguments.processes or 1,
        console=cli.console,
        command=shlex.join(["python", *sys.argv]),
    )


if __name__ == "__main__":
    cli.run(main)
