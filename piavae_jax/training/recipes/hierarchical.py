"""The gated hierarchical VAE with a VampPrior (H+Vamp; Kim and Suh 2019, after Tomczak and Welling 2018)."""

from functools import cache
from typing import Any

import jax

from piavae_jax import losses, priors, sampling, sparse
from piavae_jax.config import ExperimentConfig
from piavae_jax.losses import ElboTerms, PiaTerms
from piavae_jax.models import HierarchicalModel, hvamp, make_hierarchical_score_fn
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.recipe import Phase, Recipe, single_pass
from piavae_jax.training.recipes import parts
from piavae_jax.types import Batch, Params

_NAME = "joint"


@cache
def _body(
    num_items: int, hidden: int, gated_layers: int, latent_dim: int, num_pseudo_inputs: int, precision: str
) -> HierarchicalModel:
    return hvamp(
        num_items,
        hidden=hidden,
        gated_layers=gated_layers,
        latent_dim=latent_dim,
        num_pseudo_inputs=num_pseudo_inputs,
        precision=precision,
    )


def hierarchical(config: ExperimentConfig, catalogue: Catalogue, *, item_axis: str | None = None) -> Recipe:
    """H+Vamp, as `build_recipe`.

    The divergence is `log q(z2|x) + log q(z1|x, z2) - log p(z2) - log p(z1|z2)` at one sample. PIA aligns the upper
    latent z2, whose posterior is a Gaussian given the row alone, so that its closed form holds.
    """
    parts.refuse_item_axis(config, item_axis)
    choice = config.model
    model = _body(
        catalogue.num_items,
        choice.hidden[0],
        len(choice.hidden),
        choice.latent_dim,
        config.prior.pseudo_inputs,
        choice.precision,
    )

    def init(key: jax.Array) -> dict:
        return model.init(parts.model_key(key)) | parts.draw_anchors(config, catalogue.num_items, key=key)

    loss_fn = _make_loss_fn(model, config, parts.make_mask(config, catalogue))
    trained = ("encoder", "decoder", "prior") + ("anchors",) * config.pia.enabled
    phase = Phase(_NAME, loss_fn, trained, parts.make_optimizer(config))
    return Recipe(init, make_hierarchical_score_fn(model), (phase,), single_pass(_NAME), model)


def _make_loss_fn(model: HierarchicalModel, config: ExperimentConfig, mask: parts.Mask) -> Any:
    pia, per_user = config.pia, config.kl.per_user
    decode, likelihood = parts.make_likelihood(config, model)

    def loss_fn(
        params: Params, batch: Batch, *, beta: jax.Array, anchor_weight: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, ElboTerms | PiaTerms]:
        mask_key, top_key, bottom_key = jax.random.split(key, 3)
        inputs, users = mask(batch, mask_key), sparse.row_users(batch)
        top = model.encode_top(params, inputs)
        z2 = sampling.reparameterize(top, key=top_key, users=users)
        bottom = model.encode_bottom(params, inputs, z2)
        z1 = sampling.reparameterize(bottom, key=bottom_key, users=users)
        log_p2 = priors.mixture_log_density(z2, model.pseudo_posterior(params))
        log_p1 = priors.gaussian_log_density(z1, model.prior_bottom(params, z2))
        kl = priors.sampled_kl(top, z2, log_p2) + priors.sampled_kl(bottom, z1, log_p1)
        logits = decode(params, z1, z2)
        weight = beta * sparse.row_lengths(batch) if per_user else beta
        shared: dict[str, Any] = {"beta": weight, "kl": kl, "likelihood": likelihood}
        if not pia.enabled:
            return losses.elbo(top, logits, batch, **shared)
        return losses.pia_elbo(
            top,
            logits,
            batch,
            anchors=params["anchors"],
            anchor_weight=anchor_weight,
            z=z2 if pia.form == "sampled" else None,
            **shared,
        )

    return loss_fn
