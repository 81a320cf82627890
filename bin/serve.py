"""Recommend over HTTP with a trained run, and serve a page to try it on.

    python bin/serve.py --run runs/ml1m
    python bin/serve.py --run runs/current --port 8080  # a symbolic link: change it, then kill -HUP the server

/docs describes the requests; /metrics is for Prometheus. Needs the extra: pip install -e '.[serve]'.
"""

import argparse
from pathlib import Path

from piavae_jax import cli
from piavae_jax.errors import UserError


def _parse() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", type=Path, required=True, help="a run folder that bin/train.py wrote, or a link to one"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    """Serve."""
    arguments = _parse()
    try:
        from piavae_jax.serving.http.command import serve
    except ModuleNotFoundError as error:
        raise UserError(f"bin/serve.py needs {error.name}: pip install 'piavae-jax[serve]'") from error
    from piavae_jax.serving.http.limits import Limits

    cli.keep_compiled_programs()
    serve(arguments.run, host=arguments.host, port=arguments.port, limits=Limits(), console=cli.console)


if __name__ == "__main__":
    cli.run(main)
