"""Multi-VAE and RecVAE: an ELBO with any prior and any mask, with PIA or without, jointly or in alternation."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax

from piavae_jax import losses, masking, priors, sampling, sparse
from piavae_jax.config import ExperimentConfig
from piavae_jax.losses import ElboTerms, PiaTerms
from piavae_jax.models import Model, init_pseudo_inputs, make_score_fn, pseudo_rows
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.recipe import LossFn, Phase, Recipe, copy_entry, single_pass
from piavae_jax.training.recipes import parts
from piavae_jax.types import Batch, EncoderInput, Params, Posterior

Divergence: TypeAlias = Callable[[Params, Posterior, jax.Array, Batch], jax.Array]
"""`divergence(params, posterior, z, batch) -> [B]`, of the posterior from the prior, at its sample z where needed."""

_PRIOR_KEY = 3
_JOINT, _ENCODER, _DECODER = "joint", "encoder", "decoder"


class NllTerms(NamedTuple):
    """Terms of a pass in which only the decoder moves."""

    nll: jax.Array
    """float32[B], nats."""


class TwoViewTerms(NamedTuple):
    """Terms of two views of a user, means over the views, unweighted."""

    nll: jax.Array
    """float32[B], nats."""
    kl: jax.Array
    """float32[B], nats."""
    anchor: jax.Array
    """float32[B], squared latent distance; zero without PIA."""
    consistency: jax.Array
    """float32[B], squared 2-Wasserstein distance of the views' posteriors."""


def variational(config: ExperimentConfig, catalogue: Catalogue, *, item_axis: str | None = None) -> Recipe:
    """Multi-VAE (Liang et al. 2018) or RecVAE (Shenbin et al. 2020), as `build_recipe`."""
    model = parts.build_body(config, catalogue.num_items, item_axis=item_axis)
    if config.prior.kind == "vamp":
        parts.refuse_item_axis(config, item_axis)

    def init(key: jax.Array) -> dict:
        params = model.init(parts.model_key(key))
        params |= parts.draw_anchors(config, catalogue.num_items, key=key)
        return _with_prior(params, config, catalogue, key=key)

    loss_fn = (
        _two_view_loss(model, config)
        if config.mask.kind == "complementary"
        else _masked_loss(model, config, mask=parts.make_mask(config, catalogue))
    )
    phases, passes = _schedule(config, loss_fn, _decoder_loss(model, config))
    return Recipe(init, make_score_fn(model), phases, passes, model, item_axis)


def _schedule(
    config: ExperimentConfig, loss_fn: LossFn, decoder_loss: LossFn
) -> tuple[tuple[Phase, ...], Callable[[int], tuple[str, ...]]]:
    optimizer = parts.make_optimizer(config)
    refresh = partial(copy_entry, source="encoder", target="prior") if config.prior.kind == "composite" else None
    with_encoder = ("encoder",) + ("anchors",) * config.pia.enabled + ("prior",) * (config.prior.kind == "vamp")
    alternation = config.alternation
    if not alternation.encoder_passes:
        return (Phase(_JOINT, loss_fn, ("decoder", *with_encoder), optimizer, refresh),), single_pass(_JOINT)
    # RecVAE's prior takes the encoder over once an epoch, after the passes that moved it.
    phases = (
        Phase(_ENCODER, loss_fn, with_encoder, optimizer),
        Phase(_DECODER, decoder_loss, ("decoder",), optimizer, refresh),
    )
    order = (_ENCODER,) * alternation.encoder_passes + (_DECODER,) * alternation.decoder_passes
    return phases, lambda _: order


def _with_prior(params: dict, config: ExperimentConfig, catalogue: Catalogue, *, key: jax.Array) -> dict:
    if config.prior.kind == "composite":
        return copy_entry(params, source="encoder", target="prior")
    if config.prior.kind == "vamp":
        pseudo_inputs = init_pseudo_inputs(
            catalogue.num_items, count=config.prior.pseudo_inputs, key=jax.random.fold_in(key, _PRIOR_KEY)
        )
        return {**params, "prior": {"pseudo_inputs": pseudo_inputs}}
    return params


def make_divergence(model: Model, kind: str) -> Divergence:
    """The divergence from a prior of `config.PRIORS`: in closed form, or at one sample."""
    if kind == "composite":

        def composite(params: Params, posterior: Posterior, z: jax.Array, batch: Batch) -> jax.Array:
            previous = model.encode({"encoder": params["prior"]}, masking.encoder_input(batch))
            return priors.sampled_kl(posterior, z, priors.composite_log_density(z, previous))

        return composite
    if kind == "vamp":

        def vamp(params: Params, posterior: Posterior, z: jax.Array, batch: Batch) -> jax.Array:
            del batch
            components = model.encode(params, pseudo_rows(params["prior"]["pseudo_inputs"]))
            return priors.sampled_kl(posterior, z, priors.mixture_log_density(z, components))

        return vamp

    def normal(params: Params, posterior: Posterior, z: jax.Array, batch: Batch) -> jax.Array:
        del params, z, batch
        return priors.gaussian_kl(posterior)

    return normal


class _View(NamedTuple):
    loss: jax.Array
    terms: ElboTerms | PiaTerms
    posterior: Posterior


def _make_view(model: Model, config: ExperimentConfig) -> Callable[..., _View]:
    """What one view of a user, the encoder's input, loses."""
    pia, per_user = config.pia, config.kl.per_user
    decode, likelihood = parts.make_likelihood(config, model)
    divergence = make_divergence(model, config.prior.kind)

    def view(
        params: Params,
        inputs: EncoderInput,
        batch: Batch,
        *,
        beta: jax.Array,
        anchor_weight: jax.Array,
        key: jax.Array,
    ) -> _View:
        posterior = model.encode(params, inputs)
        z = sampling.reparameterize(posterior, key=key, users=sparse.row_users(batch))
        logits = decode(params, z)
        kl = divergence(params, posterior, z, batch)
        weight = beta * sparse.row_lengths(batch) if per_user else beta
        shared: dict[str, Any] = {"beta": weight, "kl": kl, "likelihood": likelihood, "item_axis": model.item_axis}
        if not pia.enabled:
            return _View(*losses.elbo(posterior, logits, batch, **shared), posterior)
        loss, terms = losses.pia_elbo(
            posterior,
            logits,
            batch,
            anchors=params["anchors"],
            anchor_weight=anchor_weight,
            z=z if pia.form == "sampled" else None,
            **shared,
        )
        return _View(loss, terms, posterior)

    return view


def _masked_loss(model: Model, config: ExperimentConfig, *, mask: parts.Mask) -> LossFn:
    """The PIA objective (Eq. 8), or the negative ELBO (Eq. 1) where PIA is off."""
    view = _make_view(model, config)

    def loss_fn(
        params: Params, batch: Batch, *, beta: jax.Array, anchor_weight: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, ElboTerms | PiaTerms]:
        mask_key, noise_key = jax.random.split(key)
        seen = view(params, mask(batch, mask_key), batch, beta=beta, anchor_weight=anchor_weight, key=noise_key)
        return seen.loss, seen.terms

    return loss_fn


def _two_view_loss(model: Model, config: ExperimentConfig) -> LossFn:
    """The mean loss of complementary views, plus the weighted distance between their posteriors."""
    view, mask = _make_view(model, config), config.mask

    def loss_fn(
        params: Params, batch: Batch, *, beta: jax.Array, anchor_weight: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, TwoViewTerms]:
        mask_key, *noise_keys = jax.random.split(key, 3)
        inputs = masking.complementary(batch, keep_prob=mask.keep_prob, key=mask_key)
        first, second = (
            view(params, seen, batch, beta=beta, anchor_weight=anchor_weight, key=noise_key)
            for seen, noise_key in zip(inputs, noise_keys, strict=True)
        )
        distance = losses.consistency_loss(first.posterior, second.posterior)
        means = jax.tree.map(lambda one, other: 0.5 * (one + other), first.terms, second.terms)
        anchor = means.anchor if config.pia.enabled else jax.numpy.zeros_like(distance)
        terms = TwoViewTerms(means.nll, means.kl, anchor, distance)
        return 0.5 * (first.loss + second.loss) + mask.consistency * distance, terms

    return loss_fn


def _decoder_loss(model: Model, config: ExperimentConfig) -> LossFn:
    """Reconstruction from a sample of the unmasked posterior (RecVAE's decoder passes)."""
    decode, likelihood = parts.make_likelihood(config, model)

    def loss_fn(
        params: Params, batch: Batch, *, beta: jax.Array, anchor_weight: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, NllTerms]:
        del beta, anchor_weight
        posterior = model.encode(params, masking.encoder_input(batch))
        z = sampling.reparameterize(posterior, key=key, users=sparse.row_users(batch))
        nll = likelihood(decode(params, z), batch, item_axis=model.item_axis)
        return nll, NllTerms(nll)

    return loss_fn
