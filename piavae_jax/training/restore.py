"""A trained model from its run folder alone."""

from pathlib import Path
from typing import Any, NamedTuple

from piavae_jax.evaluation import ScoreFn
from piavae_jax.training import run_folder
from piavae_jax.training.checkpoint import best_params
from piavae_jax.training.ensemble import restore_fused
from piavae_jax.training.fusion import fuses, linear_score_of, make_fused_score
from piavae_jax.training.recipes import build_recipe
from piavae_jax.training.run_folder import RunFolder


class TrainedModel(NamedTuple):
    """A model at its best epoch."""

    run: RunFolder
    score: ScoreFn
    params: Any
    """The first argument of `score`."""


def restore(workdir: Path) -> TrainedModel:
    """Restore the best parameters of a run; no data set is needed.

    Raises:
      UserError: the folder is no run, is damaged, or has no checkpoint yet.
    """
    run = run_folder.load(workdir)
    recipe = build_recipe(run.config, run.catalogue)
    if fuses(run.config):
        score = make_fused_score(recipe.score, linear_score_of(run.config.fusion))
        return TrainedModel(run, score, restore_fused(run, recipe))
    return TrainedModel(run, recipe.score, best_params(workdir, recipe, run.config))
