r"""Search a space of settings for the best validation nDCG@100, or train a grid.

    python bin/tune.py --config configs/ml1m.py --trials 40
    python bin/tune.py --config configs/ml1m.py --space sensitivity --sampler grid
    python bin/tune.py --config configs/ml1m.py --grid pia.weight=0.5,1,2,4 --grid pia.scale=1.2,1.5,2

The space is that of --grid, of --space, of the config file's own get_space(), or the usual one of its model, in this
order. Each trial has a run folder under --root; called again the search goes on where it was stopped, and several
processes that call this alike share it.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from piavae_jax import cli
from piavae_jax.config import ExperimentConfig, validate
from piavae_jax.errors import UserError
from piavae_jax.tuning import options, spaces

_CONFIG = config_flags.DEFINE_config_file("config", help_string="Experiment around which to search.")
_SPACE = flags.DEFINE_string("space", None, "Name of a known space: default, pia or sensitivity (the paper's grid).")
_GRID = flags.DEFINE_multi_string("grid", [], "FIELD=VALUE,VALUE,... of the config, every combination; repeatable.")
_ROOT = flags.DEFINE_string("root", None, "Folder of the search; runs/NAME-tune by default.")
_TRIALS = flags.DEFINE_integer("trials", None, "Trials in all; 40, or the whole grid, by default.", lower_bound=1)
_SAMPLER = flags.DEFINE_enum("sampler", None, options.SAMPLERS, "How to draw; grid after --grid, else tpe.")
_PRUNER = flags.DEFINE_enum("pruner", None, options.PRUNERS, "What to stop early: halving; none in a grid.")
_SEED = flags.DEFINE_integer("seed", 0, "Of what is drawn; that of training is --config.seed.", lower_bound=0)
_KEEP = flags.DEFINE_enum("keep", "best", options.KEPT, "Trials whose checkpoints are kept.")


def _choose_space(config: ExperimentConfig, file: str) -> spaces.Space:
    if _GRID.value and _SPACE.value:
        raise UserError(f"--grid and --space={_SPACE.value} are two spaces; leave one out")
    if _GRID.value:
        return spaces.parse_grid(_GRID.value)
    if _SPACE.value:
        return spaces.named_space(config, _SPACE.value)
    declared = spaces.declared_space(file)
    return spaces.named_space(config, "default") if declared is None else declared


def main() -> None:
    """Search, rank, draw."""
    config = cli.config_value(_CONFIG)
    flag = flags.FLAGS["config"]
    file = config_flags.get_config_filename(flag)
    validate(config)
    space = _choose_space(config, file.partition(":")[0])  # what follows the colon is the file's argument
    try:
        from piavae_jax.tuning.report import report_search
        from piavae_jax.tuning.search import run_search
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise UserError("tuning needs optuna; install it with: pip install 'piavae-jax[tune]'") from error

    cli.keep_compiled_programs()
    root = Path(_ROOT.value or f"runs/{config.name}-tune")
    sampler = _SAMPLER.value or ("grid" if _GRID.value else "tpe")
    pruner = _PRUNER.value or ("none" if sampler == "grid" else "halving")
    chosen = options.SearchOptions(_TRIALS.value, sampler, pruner, _SEED.value, _KEEP.value)
    study = run_search(config, space, root, options=chosen, console=cli.console)
    overrides = config_flags.get_override_values(flag)
    report_search(study, config, root, file=file, overrides=overrides, console=cli.console)


if __name__ == "__main__":
    cli.run_with_flags(main, usage=__doc__)
