"""Train, evaluate and checkpoint a model.

    python bin/train.py --config configs/ml1m.py [--config.pia.weight=2 ...]

Called again with the same arguments it goes on where it was stopped.
"""

from absl import flags
from ml_collections import config_flags

from piavae_jax import cli

_CONFIG = config_flags.DEFINE_config_file("config", help_string="Experiment to run: a file of configs/.")
_QUIET = flags.DEFINE_boolean("quiet", False, "Show no progress.")


def main() -> None:
    """Run one experiment."""
    config = cli.config_value(_CONFIG)
    from piavae_jax.training.experiment import run_experiment  # JAX loads only for a command line that is right

    cli.keep_compiled_programs()
    run_experiment(config, console=cli.console, quiet=_QUIET.value)


if __name__ == "__main__":
    cli.run_with_flags(main, usage=__doc__)
