"""Train, evaluate and checkpoint a model.

    python bin/train.py --config configs/ml1m.py [--config.pia.weight=2 ...]

Called again with the same arguments it goes on where it was stopped.

    python bin/train.py --config ... --init-from runs/last-week

starts a new run from an earlier one of the same body, whose data may have had other items (docs/weekly.md).

Several processes share a run, each calling this with the same arguments and its own --process_id (docs/multi_host.md):

    python bin/train.py --config ... --coordinator=HOST:PORT --process_count=N --process_id=0
    python bin/train.py --config ... --distributed     where Slurm, Open MPI or a TPU tells JAX the three
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from piavae_jax import cli
from piavae_jax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file("config", help_string="Experiment to run: a file of configs/.")
_QUIET = flags.DEFINE_boolean("quiet", False, "Show no progress.")
_INIT_FROM = flags.DEFINE_string("init-from", None, "Run folder whose parameters a new run starts from.")
_NEW_ITEMS = flags.DEFINE_enum(
    "init-new-items",
    "neighbours",
    ["neighbours", "fresh"],
    "What items that the earlier run does not know start from: the mean of the items that users have together with "
    "them, weighted by co-occurrence, or random numbers.",
)
_DISTRIBUTED = flags.DEFINE_boolean("distributed", False, "Share the run with other processes, found by JAX.")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, which listens there.")
_PROCESS_COUNT = flags.DEFINE_integer("process_count", None, "Processes that share the run.", lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Number of this process, from 0.", lower_bound=0)


def main() -> None:
    """Run one experiment."""
    from piavae_jax.supervisor import run_watched

    config = cli.config_value(_CONFIG)
    job = (_COORDINATOR.value, _PROCESS_COUNT.value, _PROCESS_ID.value)
    if not _DISTRIBUTED.value and None in job and job != (None, None, None):
        raise UserError("--coordinator, --process_count and --process_id go together; give all three, or --distributed")

    if _NEW_ITEMS.present and _INIT_FROM.value is None:
        raise UserError("--init-new-items is about a run to start from; give --init-from RUN, or leave it out")

    def train() -> None:
        from piavae_jax.training.experiment import run_experiment  # JAX loads only for a command line that is right
        from piavae_jax.training.warm_start import WarmStart

        cli.keep_compiled_programs()
        start = None if _INIT_FROM.value is None else WarmStart(Path(_INIT_FROM.value), _NEW_ITEMS.value)
        run_experiment(config, console=cli.console, quiet=_QUIET.value, init_from=start)

    def train_with_others() -> None:
        from piavae_jax.distributed import connect

        connect(*job)
        train()

    if _DISTRIBUTED.value or job != (None, None, None):
        run_watched(train_with_others)
    train()


if __name__ == "__main__":
    cli.run_with_flags(main, usage=__doc__)
