"""Recommend items to every user of an interaction log, in parts, with a trained run.

    python bin/recommend.py --run runs/ml1m --input logs/ --output recs/2026-11-25 --k 100
    python bin/recommend.py --run runs/ml1m --input logs/ --output recs/2026-11-25 --shard 0/4  # one of 4
    python bin/recommend.py --run runs/ml1m --input logs/ --output recs/2026-11-25 --engine ray

The log is a Parquet file, a folder of them, or a CSV or TSV file, with a row for each interaction in any order. OUTPUT
gets part-*.parquet with user_id, item_id, score, rank and source (model, or popular for users without a known item),
and _SUCCESS once all parts are there. A command that was killed goes on where it stopped when it is repeated.
"""

import argparse
from pathlib import Path

from piavae_jax import cli


def _parse() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run folder that bin/train.py wrote")
    parser.add_argument("--input", type=Path, required=True, help="the log")
    parser.add_argument("--output", type=Path, required=True, help="the job's folder, new or of the same job")
    parser.add_argument("--k", type=int, default=100, help="items a user (default: %(default)s)")
    parser.add_argument("--user-column", default="user", help="(default: %(default)s)")
    parser.add_argument("--item-column", default="item", help="(default: %(default)s)")
    parser.add_argument("--include-seen", action="store_true", help="recommend also what a user has already")
    parser.add_argument("--allow", type=Path, help="a text file of the only items to recommend, an id a line")
    parser.add_argument("--deny", type=Path, help="a text file of items never to recommend, an id a line")
    parser.add_argument(
        "--part-rows", type=int, default=500_000, help="rows of the log in a part; memory follows (default: 500000)"
    )
    parser.add_argument("--shard", default="0/1", metavar="i/n", help="this process's share of a common job")
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="ray shares the job on a cluster (default: local)"
    )
    parser.add_argument("--ray-address", help="a cluster to join, such as auto; without it a local one is started")
    return parser.parse_args()


def main() -> None:
    """Recommend and report."""
    arguments = _parse()
    from piavae_jax.serving.batch.command import Options, recommend_all
    from piavae_jax.serving.batch.job import parse_shard

    cli.keep_compiled_programs()
    options = Options(
        user_column=arguments.user_column,
        item_column=arguments.item_column,
        exclude_seen=not arguments.include_seen,
        allow=arguments.allow,
        deny=arguments.deny,
        shard=parse_shard(arguments.shard),
        part_rows=arguments.part_rows,
        engine=arguments.engine,
        ray_address=arguments.ray_address,
    )
    recommend_all(arguments.run, arguments.input, arguments.output, k=arguments.k, options=options, console=cli.console)


if __name__ == "__main__":
    cli.run(main)
