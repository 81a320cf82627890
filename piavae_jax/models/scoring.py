"""Scores for ranking: one clean pass through encoder and decoder."""

from collections.abc import Callable
from functools import cache

import jax

from piavae_jax import masking
from piavae_jax.models.model import Model
from piavae_jax.types import Batch, Params


@cache  # compiled evaluations are found by the function: one model, one function
def make_score_fn(model: Model) -> Callable[[Params, Batch], jax.Array]:
    """Build `score(params, batch) -> logits: [B, I]`: no mask, `z = mu`, as evaluation and serving use a model."""

    def score(params: Params, batch: Batch) -> jax.Array:
        return model.decode(params, model.encode(params, masking.encoder_input(batch)).mean)

    return score
