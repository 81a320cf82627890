"""What the recipes are made of: bodies, masks, likelihoods and optimisers, as a config names them."""

from collections.abc import Callable
from functools import cache, partial
from typing import TypeAlias

import jax
import optax

from piavae_jax import losses, masking
from piavae_jax.config import ExperimentConfig
from piavae_jax.errors import UserError
from piavae_jax.losses import Likelihood
from piavae_jax.models import HierarchicalModel, Model, init_anchors, multvae, recvae
from piavae_jax.ranking_losses import lambdarank_loss, warp_loss
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.types import Batch, EncoderInput, FactoredLogits

_MODEL, _ANCHORS = range(2)

Mask: TypeAlias = Callable[[Batch, jax.Array], EncoderInput]
"""`mask(batch, key) -> what the encoder sees`; the key is consumed."""

_RANKING_LOSSES: dict[str, Callable[..., jax.Array]] = {"warp": warp_loss, "lambdarank": lambdarank_loss}

Decode: TypeAlias = Callable[..., jax.Array | FactoredLogits]
"""`decode(params, z) -> logits`, or `decode(params, z1, z2)`."""


@cache  # runs of one architecture share a model, and with it what is compiled for it
def _body(
    name: str, num_items: int, hidden: tuple[int, ...], latent_dim: int, precision: str, item_axis: str | None
) -> Model:
    if name == "recvae":
        return recvae(
            num_items,
            hidden=hidden[0],
            layers=len(hidden),
            latent_dim=latent_dim,
            precision=precision,
            item_axis=item_axis,
        )
    return multvae(num_items, hidden=hidden, latent_dim=latent_dim, precision=precision, item_axis=item_axis)


def build_body(config: ExperimentConfig, num_items: int, *, item_axis: str | None = None) -> Model:
    """RecVAE's autoencoder where the config names it, Multi-VAE's else."""
    choice = config.model
    return _body(choice.name, num_items, tuple(choice.hidden), choice.latent_dim, choice.precision, item_axis)


def model_key(key: jax.Array) -> jax.Array:
    """The key that draws a model's parameters, of the key that a recipe's `init` is given."""
    return jax.random.fold_in(key, _MODEL)


def draw_anchors(config: ExperimentConfig, num_items: int, *, key: jax.Array) -> dict[str, jax.Array]:
    """`{"anchors": [I, D]}` with PIA, nothing without, of the key that a recipe's `init` is given."""
    if not config.pia.enabled:
        return {}
    anchors = init_anchors(
        num_items, config.model.latent_dim, std=config.pia.anchor_std, key=jax.random.fold_in(key, _ANCHORS)
    )
    return {"anchors": anchors}


def make_mask(config: ExperimentConfig, catalogue: Catalogue) -> Mask:
    """The mask of training, except for complementary views, which are two."""
    mask = config.mask
    if mask.kind == "per_user":
        return lambda batch, key: masking.per_user(batch, low=mask.low, high=mask.high, key=key)
    if mask.kind == "length":
        return lambda batch, key: masking.length_aware(batch, min_share=mask.low, key=key)
    if mask.kind == "popularity":
        keep_probs = masking.popularity_keep_probs(catalogue.train_users, keep_prob=mask.keep_prob, power=mask.power)
        return lambda batch, key: masking.popularity_aware(batch, keep_probs=keep_probs, key=key)
    return lambda batch, key: masking.bernoulli(batch, keep_prob=mask.keep_prob, key=key)


def unmasked(batch: Batch, key: jax.Array) -> EncoderInput:
    """The mask that keeps everything."""
    del key
    return masking.encoder_input(batch)


def make_likelihood(config: ExperimentConfig, model: Model | HierarchicalModel) -> tuple[Decode, Likelihood]:
    """The decoder and what its output is judged by: the multinomial likelihood, of all logits or of blocks of items,
    or a ranking loss of all logits."""
    if config.model.reconstruction != "multinomial":
        ranking_loss = _RANKING_LOSSES[config.model.reconstruction]

        def judge(logits: jax.Array, batch: Batch, *, item_axis: str | None = None) -> jax.Array:
            refuse_item_axis(config, item_axis)
            return ranking_loss(logits, batch)

        return model.decode, judge
    block = config.training.item_block
    if not block:
        return model.decode, losses.multinomial_nll
    blocked = partial(losses.blocked_multinomial_nll, block=block, precision=config.model.precision)
    return model.decode_factored, blocked


def make_optimizer(config: ExperimentConfig, learning_rate: float | None = None) -> optax.GradientTransformation:
    """The Optax transformation that the config names, at another learning rate on request."""
    chosen = config.optimizer
    rate = chosen.learning_rate if learning_rate is None else learning_rate
    method = {"adam": optax.adam, "sgd": optax.sgd}[chosen.name](rate)
    if not chosen.l2:
        return method
    return optax.chain(optax.add_decayed_weights(2.0 * chosen.l2, mask=_weight_matrices), method)


def _weight_matrices(params: optax.Params) -> optax.Params:
    # Added to the gradient before Adam, it is the gradient of l2 * ||W||^2, as in Liang et al. (2018).
    return {
        name: jax.tree.map(lambda leaf: name not in ("anchors", "users") and leaf.ndim == 2, tree)  # noqa: B023
        for name, tree in params.items()
    }


def refuse_item_axis(config: ExperimentConfig, item_axis: str | None) -> None:
    """For models that see all items at once; raises UserError."""
    if item_axis is not None:
        shards, name = config.training.item_shards, config.model.name
        raise UserError(
            f"config.training.item_shards must be 1 for {name} with {config.model.reconstruction} and a "
            f"{config.prior.kind} prior, got {shards}; multvae and recvae split with multinomial and a normal or "
            "composite prior"
        )


def refuse_item_block(config: ExperimentConfig) -> None:
    """For losses that need all logits at once; raises UserError."""
    if config.training.item_block:
        block, name = config.training.item_block, config.model.name
        raise UserError(f"config.training.item_block must be 0 for {name}, got {block}; only VAEs have it")
