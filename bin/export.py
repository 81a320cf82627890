"""Export a trained run to files that score users without this package.

    python bin/export.py --run runs/ml1m --out exports/ml1m
    python bin/export.py --run runs/ml1m --out exports/ml1m --format jax onnx

FOLDER gets, for jax, model.jax (jax.export, for any number of users; CPU, CUDA, TPU) and model.npz (its arrays); for
onnx, model.onnx; and vocabulary.json (item ids and titles, in the order of the columns) and manifest.json. Every file
is loaded again and must score as the run does, within 1e-5. docs/export.md shows how to load them.
"""

import argparse
from pathlib import Path

from piavae_jax import cli


def _parse() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run folder that bin/train.py wrote, fused or not")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the artefacts")
    parser.add_argument("--format", nargs="+", choices=("jax", "onnx"), default=["jax"], help="(default: jax)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export there")
    return parser.parse_args()


def main() -> None:
    """Export, check and show."""
    arguments = _parse()
    from piavae_jax.serving.export import export_run

    cli.keep_compiled_programs()
    export_run(
        arguments.run, arguments.out, formats=arguments.format, overwrite=arguments.overwrite, console=cli.console
    )


if __name__ == "__main__":
    cli.run(main)
