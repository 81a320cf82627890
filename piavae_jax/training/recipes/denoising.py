"""Denoising autoencoders without a posterior: Multi-DAE, and CDAE with a node for every training user."""

from functools import cache

import jax

from piavae_jax.config import ExperimentConfig
from piavae_jax.models import CDAE, Model, cdae, make_score_fn, multidae
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.recipe import Phase, Recipe, single_pass
from piavae_jax.training.recipes import parts
from piavae_jax.training.recipes.variational import NllTerms
from piavae_jax.types import Batch, Params

_NAME = "reconstruction"


@cache
def _multidae(num_items: int, hidden: tuple[int, ...], precision: str) -> Model:
    return multidae(num_items, hidden=hidden, precision=precision)


@cache
def _cdae(num_items: int, num_users: int, hidden: int, precision: str) -> CDAE:
    return cdae(num_items, num_users=num_users, hidden=hidden, precision=precision)


def denoising(config: ExperimentConfig, catalogue: Catalogue, *, item_axis: str | None = None) -> Recipe:
    """Multi-DAE (Liang et al. 2018) or CDAE (Wu et al. 2016), as `build_recipe`.

    Both minimise the multinomial likelihood of the whole row. A held-out user of CDAE has no node, and gets none.
    """
    parts.refuse_item_axis(config, item_axis)
    parts.refuse_item_block(config)
    choice = config.model
    if choice.name == "cdae":
        body = _cdae(catalogue.num_items, catalogue.num_train_users, choice.hidden[-1], choice.precision)
        model, encode = body.model, body.encode_users
    else:
        model = _multidae(catalogue.num_items, tuple(choice.hidden), choice.precision)
        encode = model.encode
    mask = parts.make_mask(config, catalogue)
    decode, likelihood = parts.make_likelihood(config, model)

    def loss_fn(
        params: Params, batch: Batch, *, beta: jax.Array, anchor_weight: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, NllTerms]:
        del beta, anchor_weight
        code = encode(params, mask(batch, key)).mean
        nll = likelihood(decode(params, code), batch)
        return nll, NllTerms(nll)

    trained = ("encoder", "decoder") + ("users",) * (choice.name == "cdae")
    phase = Phase(_NAME, loss_fn, trained, parts.make_optimizer(config))
    return Recipe(
        lambda key: model.init(parts.model_key(key)), make_score_fn(model), (phase,), single_pass(_NAME), model
    )
