"""Evaluate trained runs on held-out users; compare two systems user by user.

    python bin/evaluate.py --workdir runs/ml1m
    python bin/evaluate.py --workdir runs/ml1m-pia-* --against runs/ml1m-multvae-*

A run folder is enough to restore the model; the data are those it was trained on, unless --data says otherwise.
"""

import argparse
from pathlib import Path

from piavae_jax import cli
from piavae_jax.errors import UserError


def _parse() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, nargs="+", required=True, help="run folders of one system")
    parser.add_argument("--against", type=Path, nargs="+", default=[], help="run folders to compare it with")
    parser.add_argument("--data", type=Path, help="a prepared data set; default: the one of the first run")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="(default: %(default)s)")
    parser.add_argument(
        "--groups", default="5,11,51,101", help="fewest interactions of each user group (default: %(default)s)"
    )
    parser.add_argument("--metrics", default="", help="such as ndcg@10,recall@5; default: those of the runs' configs")
    return parser.parse_args()


def main() -> None:
    """Evaluate, write and show."""
    arguments = _parse()
    try:
        edges = [int(edge) for edge in arguments.groups.split(",")]
    except ValueError as error:
        raise UserError(f"--groups must be whole numbers such as 5,11,51,101, got {arguments.groups!r}") from error
    from piavae_jax.evaluation import groups_from
    from piavae_jax.training.evaluate_runs import evaluate_runs

    cli.keep_compiled_programs()
    evaluate_runs(
        arguments.workdir,
        against=arguments.against,
        data=arguments.data,
        split=arguments.split,
        groups=groups_from(edges),
        metrics=[label for label in arguments.metrics.split(",") if label],
        console=cli.console,
    )


if __name__ == "__main__":
    cli.run(main)
