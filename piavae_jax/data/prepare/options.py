"""The command line of `bin/prepare.py`."""

import argparse
from pathlib import Path

from piavae_jax.cli import ArgumentParser
from piavae_jax.data.shapes import SHAPES

DOWNLOADS = {"movielens": "ml-20m", "msd": "msd"}
"""Sources with a download, and the data set that `--download` alone fetches."""

_DESCRIPTION = """\
Prepare a data set for training: read it, keep the positive interactions, split them, and write a folder.

  python bin/prepare.py movielens --input ml-20m.zip --out data/ml20m
  python bin/prepare.py movielens --download ml-1m --out data/ml1m --heldout-users 600
  python bin/prepare.py table --input log.parquet --user-column user --item-column title --out data/log
  python bin/prepare.py generate --shape tiny --seed 0 --out data/tiny

Each source has its own help: python bin/prepare.py movielens --help
"""

_HELP = {
    "movielens": "MovieLens as published (100K to 32M): the zip, its folder or the ratings file",
    "netflix": "the Netflix Prize: the folder or archive of combined_data_*.txt or training_set",
    "msd": "the Million Song taste profile: train_triplets.txt or its zip",
    "npz": "a .npz file: users, items and optionally ratings (half stars: 8 is 4.0), timestamps (Unix seconds), plays",
    "table": "a CSV, TSV or Parquet file with a row for each interaction",
    "liang-csv": "a folder with the CSV files of Liang et al. (2018), split already",
    "generate": "synthetic interactions",
}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the arguments after the command's name, by default those of the process.

    Raises:
      UserError: if they are not valid.
    """
    parser = ArgumentParser(
        "prepare.py", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE", parser_class=ArgumentParser)
    for name, text in _HELP.items():
        aliases = ["csv"] if name == "table" else []
        source = sources.add_parser(name, help=text, description=text, aliases=aliases, allow_abbrev=False)
        source.set_defaults(source=name)
        _add_source_options(source, name)
        _add_output_options(source)
        if name != "liang-csv":
            _add_window_options(source)
            _add_split_options(source, seed="--split-seed" if name == "generate" else "--seed")
    return parser.parse_args(arguments)


def _add_source_options(parser: argparse.ArgumentParser, name: str) -> None:
    group = parser.add_argument_group("source")
    if name == "generate":
        _add_generator_options(group)
        return
    origin = group.add_mutually_exclusive_group(required=True)
    origin.add_argument("--input", type=Path, metavar="PATH", help="what to read")
    if name in DOWNLOADS:
        origin.add_argument("--download", nargs="?", const=DOWNLOADS[name], metavar="NAME", help="what to fetch first")
        group.add_argument("--download-folder", type=Path, default=Path("downloads"), metavar="DIR")
    if name == "npz":
        group.add_argument("--items-csv", type=Path, metavar="PATH", help="titles: columns item and title")
    if name == "table":
        for column in ("user", "item"):
            group.add_argument(f"--{column}-column", required=True, metavar="COLUMN")
        for column in ("rating", "timestamp"):
            group.add_argument(f"--{column}-column", metavar="COLUMN")
        group.add_argument("--separator", help="of a text file (default: by its suffix)")


def _add_generator_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--shape", default="tiny", help=f"{', '.join(SHAPES)} (default: tiny)")
    for size in ("users", "items", "interactions"):
        group.add_argument(f"--{size}", type=int, help=f"number of {size}, if not the shape's")
    group.add_argument("--seed", type=int, default=0, help="of the generated data (default: 0)")


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the prepared data set")
    group.add_argument("--name", help="of the data set (default: the last part of --out)")
    group.add_argument("--overwrite", action="store_true", help="replace what is there")
    group.add_argument("--export-liang-csv", type=Path, metavar="DIR", help="write the CSV files of Liang et al. too")


def _add_window_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("window", "dates or times (2026-11-25, 2026-11-25T06:00, UTC) or Unix seconds")
    group.add_argument("--since", metavar="TIME", help="leave out what is before it (default: nothing)")
    group.add_argument("--until", metavar="TIME", help="leave out what is not before it (default: nothing)")


def _add_split_options(parser: argparse.ArgumentParser, *, seed: str) -> None:
    group = parser.add_argument_group("split")
    group.add_argument("--protocol", choices=("strong", "leave-last-out", "random"), default="strong")
    group.add_argument(
        "--min-rating",
        type=float,
        help="lowest rating that counts as positive, itself included (default: movielens, netflix 4; msd 1; else none)",
    )
    group.add_argument(
        "--heldout-users",
        type=int,
        help="users of validation, and again of test (default: ML-20M 10000, Netflix 40000, MSD 50000, else a tenth)",
    )
    group.add_argument("--min-items-per-user", type=int, help="(default: 5, msd 20)")
    group.add_argument("--min-users-per-item", type=int, help="(default: 0, msd 200)")
    group.add_argument("--test-fraction", type=float, help="share of a user's items that become targets (default: 0.2)")
    group.add_argument(
        "--validation-fraction", type=float, help="the same for validation, protocol random (default: 0.1)"
    )
    group.add_argument(
        seed,
        dest="split_seed",
        type=int,
        help="of the split (default: strong 98765, as published; random 0)",
    )
