"""Late fusion: trained VAEs, a closed-form linear model and a factor model, added with weights that validation chose.

`score = sum over members of share * log_softmax(logits) + weight * linear score + factor_weight * factor score`, the
shares adding up to 1. Learning both at once fails: the linear model has seen its training users, and the VAE learns to
trust it too much.
"""

import itertools
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from piavae_jax.baselines import (
    Baseline,
    PrunedWeights,
    WMFWeights,
    ease,
    edlae,
    full_rank_scores,
    prune,
    pruned_scores,
    wmf,
    wmf_scores,
)
from piavae_jax.config import ExperimentConfig, FusionConfig, apply_settings
from piavae_jax.data.csr import CSR
from piavae_jax.evaluation import Evaluator, ScoreFn
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.recipe import Recipe
from piavae_jax.training.recipes import build_recipe
from piavae_jax.types import SparseBatch

_PARTS = 4
"""Shares are multiples of 1 / `_PARTS`."""


class FusedParams(NamedTuple):
    """What a fused model scores with."""

    members: tuple[dict, ...]
    """Parameters of the M VAEs, those of one kind beside one another."""
    linear: Any
    """Of the linear model: `{"weights": float32[I, I]}`, or `PrunedWeights`; None where there is none."""
    weight: jax.Array
    """float32[], of the linear score."""
    shares: jax.Array | None = None
    """float32[M], of each member; None where all are of one kind, and alike."""
    factors: Any = None
    """Of the factor model, as `baselines.wmf` fits them; None where there is none, or validation is better without."""
    factor_weight: Any = None
    """float32[], of the factor score; None where there are no factors."""


class WeightChoice(NamedTuple):
    """Weights, shares, and what they reached on validation."""

    weight: float
    metric: float
    shares: tuple[float, ...] = ()
    """Of each kind of members; none where there is one kind."""
    factor_weight: float = 0.0


def kinds_of(config: ExperimentConfig) -> list[ExperimentConfig]:
    """The experiment of each kind of members, not fused: the config's own, then the others.

    Raises:
      UserError: a setting of `config.fusion.others` cannot be.
    """
    own = apply_settings(config, {"fusion": FusionConfig()})
    return [own, *(apply_settings(own, settings) for settings in config.fusion.others)]


def member_recipes(config: ExperimentConfig, catalogue: Catalogue) -> tuple[Recipe, ...]:
    """M recipes, one for each member, in the order of `FusedParams.members`."""
    recipes = [build_recipe(kind, catalogue) for kind in kinds_of(config)]
    return tuple(recipe for recipe in recipes for _ in range(config.fusion.members))


@cache  # as `make_score_fn`: what is compiled is found by the function
def make_fused_score(
    member_scores: tuple[ScoreFn, ...], linear_score: ScoreFn | None, factor_score: ScoreFn | None = None
) -> ScoreFn:
    """Build `score(params: FusedParams, batch) -> float32[B, I]` of M members' scorers and those of the others.

    Parameters without factors are scored without them.
    """

    def score(params: FusedParams, batch: SparseBatch) -> jax.Array:
        logits = [
            jax.nn.log_softmax(member_score(member, batch))
            for member_score, member in zip(member_scores, params.members, strict=True)
        ]
        if params.shares is None:
            total = sum(logits[1:], start=logits[0]) / len(logits)
        else:
            weighted = [share * logit for share, logit in zip(params.shares, logits, strict=True)]
            total = sum(weighted[1:], start=weighted[0])
        if linear_score is not None:
            total += params.weight * linear_score(params.linear, batch)
        if factor_score is not None and params.factors is not None:
            total += params.factor_weight * factor_score(params.factors, batch)
        return total

    return score


def fused_score_of(fusion: FusionConfig, member_scores: tuple[ScoreFn, ...]) -> ScoreFn:
    """The scorer of a config's fused model, given its members'."""
    linear_score = pruned_scores if fusion.keep else full_rank_scores
    return make_fused_score(
        member_scores,
        None if fusion.linear == "none" else linear_score,
        None if fusion.factors == "none" else wmf_scores,
    )


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


def fit_factors(fusion: FusionConfig, train: CSR, num_items: int) -> Any:
    """Fit the factor model of a config on the training rows: float32 arrays, as `FusedParams.factors`."""
    if fusion.factors == "none":
        return None
    baseline = wmf(
        dim=fusion.factor_dim,
        regularization=fusion.factor_regularization,
        unobserved_weight=fusion.factor_unobserved_weight,
    )
    return jax.tree.map(jnp.asarray, baseline.fit(train, num_items))


def factors_in(fusion: FusionConfig, params: Any) -> str:
    """The factor model that trained parameters hold; "none" too where it was best left out."""
    held = isinstance(params, FusedParams) and params.factors is not None
    return fusion.factors if held else "none"


def like_factors(fusion: FusionConfig, num_items: int) -> Any:
    """Shapes and types of the arrays that `fit_factors` fits, without fitting anything."""

    def zeros() -> Any:
        scalar = jnp.zeros((), jnp.float32)
        items = jnp.zeros((num_items, fusion.factor_dim), jnp.float32)
        return {"items": items, "weights": WMFWeights(scalar, scalar, scalar)}

    return jax.eval_shape(zeros)


def choose_weight(
    score: ScoreFn,
    params: FusedParams,
    evaluator: Evaluator,
    *,
    weights: tuple[float, ...],
    metric: str,
    kinds: int = 1,
    factor_weights: tuple[float, ...] = (),
) -> tuple[FusedParams, list[WeightChoice]]:
    """Take the weights, and the shares where there are several kinds, that are best on the evaluator's users.

    Shares are equal, and the factor model is left out, while the weight is chosen; they are chosen with that weight, in
    quarters, and then the weight again. With these the factor model's weight is chosen, then the weight a third time;
    a factor model that is best left out is dropped. To try all of them together takes longer, and the more is tried on
    few users, the more what is best there flatters (docs/results.md, MovieLens-100K).

    Args:
      score: of `make_fused_score`.
      params: M members, those of one kind beside one another, of each kind as many; and a linear and a factor model, or
        None.
      evaluator: of the validation users.
      weights: candidates for the weight of the linear score; of no use where there is none.
      metric: label of what is to be large.
      kinds: of members.
      factor_weights: candidates for the weight of the factor score, beside 0; of no use where there is none.

    Returns:
      The parameters with the best, of equals the first, and all that was tried.
    """
    placed = jax.device_put(params)
    tried: dict[tuple[float, tuple[float, ...], float], WeightChoice] = {}

    def fused(weight: float, shares: tuple[float, ...], factor_weight: float) -> FusedParams:
        own = None
        if kinds > 1:
            of_each = len(params.members) // kinds
            own = jnp.repeat(jnp.asarray(shares, jnp.float32) / of_each, of_each)
        changed = placed._replace(weight=jnp.float32(weight), shares=own)
        if factor_weight == 0:
            return changed._replace(factors=None, factor_weight=None)  # users need not be folded in
        return changed._replace(factor_weight=jnp.float32(factor_weight))

    def sweep(candidates: Sequence[tuple[float, tuple[float, ...], float]]) -> WeightChoice:
        for candidate in candidates:
            if candidate not in tried:
                weight, shares, factor_weight = candidate
                reached = evaluator.evaluate(score, fused(*candidate)).summary(metric).mean
                tried[candidate] = WeightChoice(weight, reached, shares, factor_weight)
        return max(tried.values(), key=lambda choice: choice.metric)

    weights = (0.0,) if params.linear is None else weights
    equal = (1 / kinds,) * kinds if kinds > 1 else ()
    best = sweep([(weight, equal, 0.0) for weight in weights])
    if kinds > 1:
        best = sweep([(best.weight, shares, 0.0) for shares in _shares(kinds)])
        best = sweep([(weight, best.shares, 0.0) for weight in weights])
    if params.factors is not None:
        best = sweep([(best.weight, best.shares, weight) for weight in factor_weights])
        best = sweep([(weight, best.shares, best.factor_weight) for weight in weights])  # nothing new at 0
    return fused(best.weight, best.shares, best.factor_weight), list(tried.values())


def _shares(kinds: int) -> Iterator[tuple[float, ...]]:
    """All shares of some kinds that are multiples of 1 / `_PARTS` and add up to 1."""
    for parts in itertools.product(range(_PARTS + 1), repeat=kinds):
        if sum(parts) == _PARTS:
            yield tuple(part / _PARTS for part in parts)
