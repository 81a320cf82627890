"""Reproduce the paper's figures and tables on trained runs, and put its theory to the test.

    python bin/analyze.py --workdir runs/clean runs/masked runs/pia --out runs/analysis
    python bin/analyze.py --workdir runs/masked runs/pia --out runs/analysis --only table3,table6
    python bin/analyze.py --benchmark runs/benchmark-ml1m --sensitivity runs/ml1m-tune --out runs/analysis
    python bin/analyze.py --list

Runs are on one data set, and the first is what others are compared with. OUT gets analysis.md and a folder for each
study: a page, tables as CSV, pictures as PNG. Called again it replaces the studies that it runs and keeps the others.
"""

import argparse
import shlex
import sys
from pathlib import Path

from piavae_jax import cli
from piavae_jax.errors import UserError


def _parse() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--workdir", type=Path, nargs="+", default=[], metavar="RUN", help="run folders of bin/train.py"
    )
    parser.add_argument("--data", type=Path, help="the runs' data; default: where they were")
    parser.add_argument("--benchmark", type=Path, help="a folder of bin/benchmark.py, for table1")
    parser.add_argument("--sensitivity", type=Path, help="a folder of bin/tune.py, for figures3-6")
    parser.add_argument("--only", help="names of studies separated by commas; default: all that can be run")
    parser.add_argument("--out", type=Path, help="the analysis's folder")
    parser.add_argument("--seed", type=int, default=0, help="of whatever a study draws (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="show the studies and what each needs")
    return parser.parse_args()


def main() -> None:
    """Run and report."""
    arguments = _parse()
    if not arguments.list and arguments.out is None:
        raise UserError("--out is missing: pass a folder for what is found, or --list")
    if not 0 <= arguments.seed < 2**32:
        raise UserError(f"--seed must be at least 0 and below 2**32, got {arguments.seed}: choose any")
    from piavae_jax.analysis.harness.command import list_studies, run_studies
    from piavae_jax.analysis.harness.gathering import Sources

    if arguments.list:
        list_studies(cli.console)
        return
    cli.keep_compiled_programs()
    run_studies(
        Sources(tuple(arguments.workdir), arguments.data, arguments.benchmark, arguments.sensitivity),
        only=arguments.only,
        out=arguments.out,
        seed=arguments.seed,
        console=cli.console,
        command=shlex.join(["python", *sys.argv]),
    )


if __name__ == "__main__":
    cli.run(main)
