"""From a config's choices to the loss of a batch: mask, encode, sample, decode, compare."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import jax

from piavae_jax import losses, masking, sampling, sparse
from piavae_jax.config import ExperimentConfig
from piavae_jax.losses import ElboTerms, PiaTerms
from piavae_jax.models import Model
from piavae_jax.types import Batch, Params

LossFn: TypeAlias = Callable[..., tuple[jax.Array, ElboTerms | PiaTerms]]
"""`loss_fn(params, batch, *, beta, anchor_weight, key) -> (loss: [B], terms of [B])`; the key is consumed."""


def make_loss_fn(model: Model, config: ExperimentConfig) -> LossFn:
    """Build the training loss: the PIA objective (Eq. 8), or the negative ELBO (Eq. 1) where PIA is off."""
    keep_prob, pia, block = config.model.keep_prob, config.pia, config.training.item_block
    decode = model.decode_factored if block else model.decode
    likelihood = losses.multinomial_nll
    if block:
        likelihood = partial(losses.blocked_multinomial_nll, block=block, precision=config.model.precision)

    def loss_fn(
        params: Params, batch: Batch, *, beta: jax.Array, anchor_weight: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, ElboTerms | PiaTerms]:
        mask_key, noise_key = jax.random.split(key)
        posterior = model.encode(params, masking.bernoulli(batch, keep_prob=keep_prob, key=mask_key))
        z = sampling.reparameterize(posterior, key=noise_key, users=sparse.row_users(batch))
        logits = decode(params, z)
        if not pia.enabled:
            return losses.elbo(posterior, logits, batch, beta=beta, likelihood=likelihood, item_axis=model.item_axis)
        return losses.pia_elbo(
            posterior,
            logits,
            batch,
            beta=beta,
            anchors=params["anchors"],
            anchor_weight=anchor_weight,
            z=z if pia.form == "sampled" else None,
            likelihood=likelihood,
            item_axis=model.item_axis,
        )

    return loss_fn
