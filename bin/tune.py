r"""Train a grid of settings and rank them by validation nDCG@100.

    python bin/tune.py --config configs/ml1m.py --root runs/ml1m-grid \
      --grid pia.weight=0.5,1,2,4 --grid pia.scale=1.2,1.5,2 --grid pia.patience=5,10

Each setting has a run folder of its own; called again it goes on where it was stopped. Several processes share a grid
by --shard=0/2 and --shard=1/2.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from piavae_jax import cli
from piavae_jax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file("config", help_string="Experiment around which to search.")
_GRID = flags.DEFINE_multi_string("grid", [], "FIELD=VALUE,VALUE,... of the config; may be repeated.")
_ROOT = flags.DEFINE_string("root", "", "Folder of the grid's run folders; runs/NAME-grid by default.")
_SHARD = flags.DEFINE_string("shard", "0/1", "i/n: this process trains every n-th setting, from the i-th.")


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise UserError(f"--shard must be i/n with 0 <= i < n, got {text!r}; leave it out for a single process")
    return int(index), int(count)


def main() -> None:
    """Train and rank."""
    config = cli.config_value(_CONFIG)
    shard = _shard(_SHARD.value)
    from piavae_jax.training.grid import run_grid

    cli.keep_compiled_programs()
    root = Path(_ROOT.value or f"runs/{config.name}-grid")
    table = run_grid(config, _GRID.value, root, shard=shard, console=cli.console)
    cli.console.print(cli.frame_table(table, title="best first"))
    cli.console.print(f"written to {root}/grid.csv", highlight=False)


if __name__ == "__main__":
    cli.run_with_flags(main, usage=__doc__)
