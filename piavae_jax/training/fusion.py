"""Late fusion: trained VAEs and a closed-form linear model, their scores added with a weight that validation chose.

`score = mean over members of log_softmax(logits) + weight * linear score`. Learning both at once fails: the linear
model has seen its training users, and the VAE learns to trust it too much.
"""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax.baselines import Baseline, PrunedWeights, ease, edlae, full_rank_scores, prune, pruned_scores
from piavae_jax.config import ExperimentConfig, FusionConfig
from piavae_jax.data.csr import CSR
from piavae_jax.evaluation import Evaluator, ScoreFn
from piavae_jax.types import SparseBatch


class FusedParams(NamedTuple):
    """What a fused model scores with."""

    members: tuple[dict, ...]
    """Parameters of the VAEs."""
    linear: Any
    """Of the linear model: `{"weights": float32[I, I]}`, or `PrunedWeights`; None where there is none."""
    weight: jax.Array
    """float32[], of the linear score."""


class WeightChoice(NamedTuple):
    """A weight and what it reached on validation."""

    weight: float
    metric: float


def fuses(config: ExperimentConfig) -> bool:
    """Whether a config asks for more than one model."""
    return config.fusion.members > 1 or config.fusion.linear != "none"


@cache  # as `make_score_fn`: what is compiled is found by the function
def make_fused_score(member_score: ScoreFn, linear_score: ScoreFn | None) -> ScoreFn:
    """Build `score(params: FusedParams, batch) -> float32[B, I]`."""

    def score(params: FusedParams, batch: SparseBatch) -> jax.Array:
        logits = [jax.nn.log_softmax(member_score(member, batch)) for member in params.members]
        total = sum(logits[1:], start=logits[0]) / len(logits)
        if linear_score is None:
            return total
        return total + params.weight * linear_score(params.linear, batch)

    return score


def linear_score_of(fusion: FusionConfig) -> ScoreFn | None:
    """The scorer of a config's linear model."""
    if fusion.linear == "none":
        return None
    return pruned_scores if fusion.keep else full_rank_scores


def fit_linear(fusion: FusionConfig, train: CSR, num_items: int) -> Any:
    """Fit the linear model of a config on the training rows: float32 arrays, as `FusedParams.linear`."""
    if fusion.linear == "none":
        return None
    weights = _baseline(fusion).fit(train, num_items)["weights"]
    return prune(weights, per_item=fusion.keep) if fusion.keep else {"weights": jnp.asarray(weights)}


def _baseline(fusion: FusionConfig) -> Baseline:
    if fusion.linear == "ease":
        return ease(regularization=fusion.regularization)
    return edlae(
        dropout=fusion.dropout,
        regularization=fusion.regularization,
        activity_exponent=fusion.activity_exponent,
    )


def like_linear(fusion: FusionConfig, num_items: int) -> Any:
    """Shapes and types of `fit_linear`'s arrays, without fitting anything."""
    if fusion.linear == "none":
        return None

    def zeros() -> Any:
        if not fusion.keep:
            return {"weights": jnp.zeros((num_items, num_items), jnp.float32)}
        shape = (num_items, min(fusion.keep, num_items))
        return PrunedWeights(jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.float32))

    return jax.eval_shape(zeros)


def choose_weight(
    score: ScoreFn, params: FusedParams, evaluator: Evaluator, *, weights: tuple[float, ...], metric: str
) -> tuple[FusedParams, list[WeightChoice]]:
    """Take the weight that is best on the evaluator's users, of equals the first.

    Returns:
      The parameters with that weight, and what each reached.
    """
    placed = jax.device_put(params)
    choices = []
    for weight in weights:
        users = evaluator.evaluate(score, placed._replace(weight=jnp.float32(weight)))
        choices.append(WeightChoice(weight, users.summary(metric).mean))
    best = choices[int(np.argmax([choice.metric for choice in choices]))]
    return placed._replace(weight=jnp.float32(best.weight)), choices
