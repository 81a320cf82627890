"""A trained model as one pure function of named arrays and dense rows: what every format is made of."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from piavae_jax.baselines import PrunedWeights, WMFWeights, dense_wmf_scores
from piavae_jax.config import ExperimentConfig
from piavae_jax.evaluation import ScoreFn
from piavae_jax.training.fusion import FusedParams, FusedScore, fused_score_of, member_recipes
from piavae_jax.training.programs import recipe_of
from piavae_jax.training.restore import restore
from piavae_jax.training.run_folder import RunFolder

_ENTRIES = ("encoder", "decoder")
"""What scores; anchors, priors, critics and nodes of training users are for training."""
_MEMBERS, _LINEAR, _WEIGHT, _SHARES = "members", "linear", "weight", "shares"
_FACTORS, _FACTOR_WEIGHT = "factors", "factor_weight"


class Program(NamedTuple):
    """A model at its best epoch."""

    run: RunFolder
    score: Callable[[Mapping[str, jax.Array], jax.Array], jax.Array]
    """`score(arrays, rows: float32[B, I]) -> float32[B, I]`, in float32 whatever the run trained with; a row is 1 where
    the user has the item, else 0."""
    arrays: dict[str, np.ndarray]
    """Its parameters by name, such as `encoder/InputLayer_0/kernel`."""
    reference: ScoreFn
    """What evaluation scores with, on sparse rows, in float32 too."""
    params: Any
    """Its first argument."""


def load_program(path: Path) -> Program:
    """Restore a run, fused or not; no data set is needed.

    Raises:
      UserError: the folder is no run, is damaged, or has no checkpoint yet.
    """
    trained = restore(path)
    run, config = trained.run, _in_float32(trained.run.config)
    params = jax.device_get(trained.params)
    if not config.fusion.fuses:
        score = recipe_of(config, run.catalogue).score
        arrays = flatten_dict(_scoring(params), sep="/")
        return Program(run, _unflattened(score), arrays, score, params)
    scores = tuple(recipe.score for recipe in member_recipes(config, run.catalogue))
    dense = FusedScore(
        scores,
        None if params.linear is None else _dense_linear_score,
        None if params.factors is None else _dense_factor_score,
    )
    reference = fused_score_of(config.fusion, scores)
    return Program(run, _unflattened_fused(dense), _fused_arrays(params), reference, params)


def _in_float32(config: ExperimentConfig) -> ExperimentConfig:
    exact = copy.deepcopy(config)
    exact.model.precision = "float32"
    exact.fusion.others = tuple({**kind, "model.precision": "float32"} for kind in config.fusion.others)
    return exact


def _scoring(params: Mapping[str, Any]) -> dict[str, Any]:
    return {entry: params[entry] for entry in _ENTRIES}


def _fused_arrays(params: FusedParams) -> dict[str, np.ndarray]:
    members = {str(number): _scoring(member) for number, member in enumerate(params.members)}
    tree: dict[str, Any] = {_MEMBERS: members}
    if params.linear is not None:
        linear = params.linear._asdict() if isinstance(params.linear, PrunedWeights) else params.linear
        tree |= {_LINEAR: linear, _WEIGHT: np.asarray(params.weight)}
    if params.factors is not None:
        factors = {**params.factors, "weights": params.factors["weights"]._asdict()}
        tree |= {_FACTORS: factors, _FACTOR_WEIGHT: np.asarray(params.factor_weight)}
    if params.shares is not None:
        tree[_SHARES] = np.asarray(params.shares)
    return flatten_dict(tree, sep="/")


def _unflattened(score: ScoreFn) -> Callable[[Mapping[str, jax.Array], jax.Array], jax.Array]:
    return lambda arrays, rows: score(unflatten_dict(dict(arrays), sep="/"), rows)  # type: ignore[arg-type]


def _unflattened_fused(score: ScoreFn) -> Callable[[Mapping[str, jax.Array], jax.Array], jax.Array]:
    def fused_score(arrays: Mapping[str, jax.Array], rows: jax.Array) -> jax.Array:
        tree = unflatten_dict(dict(arrays), sep="/")
        members = tuple(tree[_MEMBERS][str(number)] for number in range(len(tree[_MEMBERS])))
        parts = (_LINEAR, _WEIGHT, _SHARES, _FACTORS, _FACTOR_WEIGHT)
        fused = FusedParams(members, *map(tree.get, parts))
        return score(fused, rows)  # type: ignore[arg-type]

    return fused_score


def _dense_linear_score(linear: Mapping[str, jax.Array], rows: jax.Array) -> jax.Array:
    """`x B`, as `full_rank_scores` and `pruned_scores` have it of sparse rows."""
    weights = linear["weights"]
    if "items" not in linear:
        return jnp.matmul(rows, weights, precision=jax.lax.Precision.HIGHEST)

    def add(total: jax.Array, kept: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        items, weight = kept  # of each item, one of those that it speaks about
        return total.at[:, items].add(rows * weight[None, :]), None

    return jax.lax.scan(add, jnp.zeros_like(rows), (linear["items"].T, weights.T))[0]


def _dense_factor_score(factors: Mapping[str, Any], rows: jax.Array) -> jax.Array:
    """As `wmf_scores` has it of sparse rows; `factors` of named arrays alone."""
    return dense_wmf_scores({**factors, "weights": WMFWeights(**factors["weights"])}, rows)
