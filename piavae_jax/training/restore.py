"""A trained model from its run folder alone."""

from pathlib import Path
from typing import Any, NamedTuple

from piavae_jax.evaluation import ScoreFn
from piavae_jax.training import run_folder
from piavae_jax.training.checkpoint import best_params
from piavae_jax.training.ensemble import restore_fused
from piavae_jax.training.fusion import fused_score_of, member_recipes
from piavae_jax.training.programs import recipe_of
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
    if run.config.fusion.fuses:
        scores = tuple(recipe.score for recipe in member_recipes(run.config, run.catalogue))
        return TrainedModel(run, fused_score_of(run.config.fusion, scores), restore_fused(run))
    recipe = recipe_of(run.config, run.catalogue)
    return TrainedModel(run, recipe.score, best_params(workdir, recipe, run.config))
