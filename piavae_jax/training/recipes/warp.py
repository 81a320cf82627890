"""WARP (Weston et al. 2011) on the linear body I-200-I, as RaCT compares with (Lobel et al. 2020)."""

from functools import cache
from typing import NamedTuple

import jax

from piavae_jax.config import ExperimentConfig
from piavae_jax.models import Model, linear_autoencoder, make_score_fn
from piavae_jax.ranking_losses import warp_loss
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.recipe import Phase, Recipe, single_pass
from piavae_jax.training.recipes import parts
from piavae_jax.types import Batch, Params

_NAME = "ranking"


class WarpTerms(NamedTuple):
    """Terms of the loss."""

    warp: jax.Array
    """float32[B]."""


@cache
def _body(num_items: int, dim: int, precision: str) -> Model:
    return linear_autoencoder(num_items, dim=dim, precision=precision)


def warp(config: ExperimentConfig, catalogue: Catalogue, *, item_axis: str | None = None) -> Recipe:
    """A linear autoencoder that ranks, as `build_recipe`."""
    parts.refuse_item_axis(config, item_axis)
    parts.refuse_item_block(config)
    model = _body(catalogue.num_items, config.model.hidden[-1], config.model.precision)
    mask = parts.make_mask(config, catalogue)

    def loss_fn(
        params: Params, batch: Batch, *, beta: jax.Array, anchor_weight: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, WarpTerms]:
        del beta, anchor_weight
        loss = warp_loss(model.decode(params, model.encode(params, mask(batch, key)).mean), batch)
        return loss, WarpTerms(loss)

    phase = Phase(_NAME, loss_fn, ("encoder", "decoder"), parts.make_optimizer(config))
    return Recipe(
        lambda key: model.init(parts.model_key(key)), make_score_fn(model), (phase,), single_pass(_NAME), model
    )
