"""Late fusion: trained VAEs, a closed-form linear model and a factor model, added with weights that validation chose.

`score = sum over members of share * log_softmax(logits) + weight * linear score + factor_weight * factor score`, the
shares adding up to 1. Learning both at once fails: the linear model has seen its training users, and the VAE learns to
trust it too much.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

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
from piavae_jax.training.programs import recipe_of
from piavae_jax.training.recipe import Recipe

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


_Candidate: TypeAlias = tuple[float, tuple[float, ...], float]
"""Weight, shares and factor weight, as `WeightChoice` has them."""


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
    recipes = [recipe_of(kind, catalogue) for kind in kinds_of(config)]
    return tuple(recipe for recipe in recipes for _ in range(config.fusion.members))


class FusedParts(NamedTuple):
    """What a fused model adds up, each float32[B, I]."""

    members: tuple[jax.Array, ...]
    """Log-probabilities of the M VAEs."""
    linear: jax.Array | None
    factors: jax.Array | None


class Mixture(NamedTuple):
    """With what weights parts are added up, as `FusedParams` has them."""

    weight: jax.Array
    shares: jax.Array | None
    factor_weight: Any


_Scorer: TypeAlias = Callable[[Any, Any], jax.Array]
"""A `ScoreFn`, or the same on dense rows, which the batch then is."""


@dataclass(frozen=True)  # equal where its scorers are: what is compiled is found by it
class FusedScore:
    """`score(params: FusedParams, batch) -> float32[B, I]` of M members' scorers and those of the others.

    Parameters without factors are scored without them.
    """

    members: tuple[_Scorer, ...]
    linear: _Scorer | None = None
    factors: _Scorer | None = None

    def __call__(self, params: FusedParams, batch: Any) -> jax.Array:
        """Score all items for B users."""
        return self.mix(self.parts(params, batch), Mixture(params.weight, params.shares, params.factor_weight))

    def parts(self, params: FusedParams, batch: Any) -> FusedParts:
        """What is added up, whatever the weights."""
        return FusedParts(
            tuple(
                jax.nn.log_softmax(score(member, batch))
                for score, member in zip(self.members, params.members, strict=True)
            ),
            None if self.linear is None else self.linear(params.linear, batch),
            None if self.factors is None or params.factors is None else self.factors(params.factors, batch),
        )

    def mix(self, parts: FusedParts, mixture: Mixture) -> jax.Array:
        """Add them up."""
        if mixture.shares is None:
            total = sum(parts.members[1:], start=parts.members[0]) / len(parts.members)
        else:
            weighted = [share * member for share, member in zip(mixture.shares, parts.members, strict=True)]
            total = sum(weighted[1:], start=weighted[0])
        if parts.linear is not None:
            total += mixture.weight * parts.linear
        if parts.factors is not None:
            total += mixture.factor_weight * parts.factors
        return total


def fused_score_of(fusion: FusionConfig, member_scores: tuple[ScoreFn, ...]) -> FusedScore:
    """The scorer of a config's fused model, given its members'."""
    linear_score = pruned_scores if fusion.keep else full_rank_scores
    return FusedScore(
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
    score: FusedScore,
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
      score: of the fused model.
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
    without_factors = placed._replace(factors=None)  # users need not be folded in
    tried: dict[_Candidate, WeightChoice] = {}

    def mixtures(candidates: Sequence[_Candidate]) -> Mixture:
        weight, shares, factor_weight = (jnp.asarray(column, jnp.float32) for column in zip(*candidates, strict=True))
        of_each = len(params.members) // kinds
        return Mixture(weight, jnp.repeat(shares / of_each, of_each, axis=1) if kinds > 1 else None, factor_weight)

    def sweep(candidates: Sequence[_Candidate]) -> WeightChoice:
        new = [candidate for candidate in dict.fromkeys(candidates) if candidate not in tried]
        if new:
            scored = placed if any(factor_weight for *_, factor_weight in new) else without_factors
            measured = evaluator.evaluate_mixtures(score, scored, mixtures(new))
            for (weight, shares, factor_weight), values in zip(new, measured, strict=True):
                choice = WeightChoice(weight, values.summary(metric).mean, shares, factor_weight)
                tried[weight, shares, factor_weight] = choice
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
    columns = mixtures([(best.weight, best.shares, best.factor_weight)])
    chosen = jax.tree.map(lambda column: column[0], columns)
    if best.factor_weight == 0:
        return without_factors._replace(weight=chosen.weight, shares=chosen.shares), list(tried.values())
    return placed._replace(**chosen._asdict()), list(tried.values())


def _shares(kinds: int) -> Iterator[tuple[float, ...]]:
    """All shares of some kinds that are multiples of 1 / `_PARTS` and add up to 1."""
    for parts in itertools.product(range(_PARTS + 1), repeat=kinds):
        if sum(parts) == _PARTS:
            yield tuple(part / _PARTS for part in parts)
