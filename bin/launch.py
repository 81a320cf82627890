"""Train with several processes on this machine.

    python bin/launch.py --processes 2 -- bin/train.py --config configs/ml1m.py [--config.training.interactions=stream]

Each process gets its number and a free port to meet the others at. When one dies the others end too, with the status of
the first; the same command goes on from the last checkpoint. docs/multi_host.md has the ways to start on several hosts.
"""

import argparse
import sys

from piavae_jax import cli
from piavae_jax.errors import UserError


def main() -> None:
    """Start, wait, and end with the status of the job."""
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, required=True, metavar="N", help="processes to start")
    parser.add_argument("command", nargs="+", help="what each of them runs, after --")
    arguments = parser.parse_args()
    if arguments.processes < 1:
        raise UserError(f"--processes must be at least 1, got {arguments.processes}; 2 shares each batch between two")
    from piavae_jax.launcher import launch

    sys.exit(launch(arguments.command, processes=arguments.processes))


if __name__ == "__main__":
    cli.run(main)
