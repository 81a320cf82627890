"""The recipes of all models: `build_recipe` makes the one that a config names."""

from piavae_jax.config import ExperimentConfig
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.recipe import Recipe
from piavae_jax.training.recipes.denoising import denoising
from piavae_jax.training.recipes.hierarchical import hierarchical
from piavae_jax.training.recipes.lambdanet import lambdanet
from piavae_jax.training.recipes.ract import ract
from piavae_jax.training.recipes.variational import variational
from piavae_jax.training.recipes.warp import warp

_BUILDERS = {
    "multvae": variational,
    "recvae": variational,
    "hvamp": hierarchical,
    "multidae": denoising,
    "cdae": denoising,
    "ract": ract,
    "lambdanet": lambdanet,
    "warp": warp,
}


def build_recipe(config: ExperimentConfig, catalogue: Catalogue, *, item_axis: str | None = None) -> Recipe:
    """The recipe of the model that a config names.

    Args:
      config: the experiment, validated.
      catalogue: of the data.
      item_axis: the mesh axis that items are split over, if any.

    Raises:
      UserError: the model cannot be split along items.
    """
    return _BUILDERS[config.model.name](config, catalogue, item_axis=item_axis)
