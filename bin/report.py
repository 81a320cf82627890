"""Write one self-contained HTML page about a trained run.

    python bin/report.py --workdir runs/ml1m --out report.html

The page has the run's results on test users beside cheap baselines, learning curves, a map of users, neighbours of
items, sample recommendations and warnings; docs/report.md says more. It names users and what they have: keep it as you
keep the data. The data are those the run was trained on, unless --data says otherwise.
"""

import argparse
from pathlib import Path

from piavae_jax import cli
from piavae_jax.errors import UserError


def _parse() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True, help="a run folder")
    parser.add_argument("--out", type=Path, required=True, help="the page to write, replaced if it is there")
    parser.add_argument("--data", type=Path, help="a prepared data set; default: the one of the run")
    return parser.parse_args()


def main() -> None:
    """Measure and write."""
    arguments = _parse()
    try:
        from piavae_jax.report.command import report_run
    except ModuleNotFoundError as error:
        if error.name not in ("jinja2", "matplotlib", "sklearn", "threadpoolctl"):
            raise
        raise UserError(f"a report needs {error.name}; install it with: pip install 'piavae-jax[report]'") from error

    cli.keep_compiled_programs()
    report_run(arguments.workdir, out=arguments.out, data=arguments.data, console=cli.console)


if __name__ == "__main__":
    cli.run(main)
