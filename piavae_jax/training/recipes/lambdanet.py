"""LambdaNet: Multi-VAE, then a stage that minimises LambdaRank in place of the likelihood (as in RaCT)."""

from typing import NamedTuple

import jax

from piavae_jax import priors, sampling, sparse
from piavae_jax.config import ExperimentConfig
from piavae_jax.ranking_losses import lambdarank_loss
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.recipe import Phase, Recipe
from piavae_jax.training.recipes import parts
from piavae_jax.training.recipes.variational import variational
from piavae_jax.types import Batch, Params

_RANKING = "ranking"


class RankingTerms(NamedTuple):
    """Terms of the ranking stage, unweighted."""

    lambdarank: jax.Array
    """float32[B]."""
    kl: jax.Array
    """float32[B], nats."""


def lambdanet(config: ExperimentConfig, catalogue: Catalogue, *, item_axis: str | None = None) -> Recipe:
    """Multi-VAE trained on for nDCG, as `build_recipe`; the anchors of PIA move in the first stage only."""
    parts.refuse_item_axis(config, item_axis)
    parts.refuse_item_block(config)
    pretrained = variational(config, catalogue)
    (pretraining,) = pretrained.phases
    model = parts.build_body(config, catalogue.num_items)
    mask = parts.make_mask(config, catalogue)

    def loss_fn(
        params: Params, batch: Batch, *, beta: jax.Array, anchor_weight: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, RankingTerms]:
        del anchor_weight
        mask_key, noise_key = jax.random.split(key)
        posterior = model.encode(params, mask(batch, mask_key))
        z = sampling.reparameterize(posterior, key=noise_key, users=sparse.row_users(batch))
        terms = RankingTerms(lambdarank_loss(model.decode(params, z), batch), priors.gaussian_kl(posterior))
        weight = beta * sparse.row_lengths(batch) if config.kl.per_user else beta
        return terms.lambdarank + weight * terms.kl, terms

    def passes(epoch: int) -> tuple[str, ...]:
        return (pretraining.name if epoch <= config.stages.pretraining else _RANKING,)

    ranking = Phase(_RANKING, loss_fn, ("encoder", "decoder"), parts.make_optimizer(config))
    return pretrained._replace(phases=(pretraining, ranking), passes=passes)
