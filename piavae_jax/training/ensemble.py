"""Training a fused model: its members in run folders of their own, then one checkpoint that holds them all."""

import json
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from piavae_jax.config import ExperimentConfig, apply_settings
from piavae_jax.data.json_files import write_json
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.errors import UserError
from piavae_jax.evaluation import ScoreFn
from piavae_jax.training import run_folder
from piavae_jax.training.catalogue import catalogue_of
from piavae_jax.training.fit import FitResult, Listener, fit
from piavae_jax.training.fusion import (
    FusedParams,
    WeightChoice,
    choose_weight,
    fit_factors,
    fit_linear,
    fused_score_of,
    kinds_of,
    like_factors,
    like_linear,
    member_recipes,
)
from piavae_jax.training.run_folder import RunFolder
from piavae_jax.training.session import SELECTION_METRIC
from piavae_jax.training.state import init_state
from piavae_jax.training.warm_start import WarmStart, find_origin

MEMBERS, FUSION, CHOICES = "members", "fusion", "fusion.json"


class FusedResult(NamedTuple):
    """A finished fused model."""

    run: RunFolder
    score: ScoreFn
    params: FusedParams
    members: Sequence[FitResult]
    choices: Sequence[WeightChoice]
    """What weights, and shares of kinds, reached on validation; empty where there is nothing to choose."""
    linear_seconds: float
    """What fitting the linear and the factor model took; 0 without either."""


def member_configs(config: ExperimentConfig, workdir: Path) -> list[ExperimentConfig]:
    """The experiments of all members, unfused: of each kind, one for each seed.

    The first kind is the config's own and stays in `members/SEED`, the next ones in `members/KIND-SEED`.

    Raises:
      UserError: a setting of `config.fusion.others` cannot be.
    """
    members = []
    for kind, own in enumerate(kinds_of(config)):
        for seed in range(config.seed, config.seed + config.fusion.members):
            folder = f"{kind}-{seed}" if kind else f"{seed}"
            settings = {"seed": seed, "name": f"{config.name}-{folder}", "workdir": str(workdir / MEMBERS / folder)}
            members.append(apply_settings(own, settings))
    return members


def fit_fused(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    workdir: Path,
    *,
    listener: Listener | None = None,
    trained: Sequence[Path] = (),
    init_from: WarmStart | None = None,
) -> FusedResult:
    """Train what is missing of a fused model's members, fit the other models, choose their weights on validation.

    Called again it goes on where it stopped; a finished one is read. Arguments and errors as `fit`, and

    Args:
      trained: run folders; one that is what a member will be is copied in its place, not trained again.
      init_from: an earlier run to start from: a fused one gives each member its own, any other is the start of all.

    Raises:
      UserError: the job has several processes.
    """
    if jax.process_count() > 1:
        raise UserError(
            f"a fused model is trained by one process, got {jax.process_count()}: start bin/train.py itself, or train "
            "the members one by one"
        )
    configs = member_configs(config, workdir)
    member_recipes(config, catalogue_of(dataset))  # refuses a kind that cannot be, before another has been trained
    with run_folder.locked(workdir):
        starts = _member_starts(config, init_from)
        if run_folder.exists(workdir):
            run = run_folder.load(workdir)
            run_folder.check_resumable(run, config, dataset)
            _check_epochs(run, config)
            run = run if run.config == config else run_folder.update_config(run, config)
        else:
            for member, start in zip(configs, starts, strict=True):
                if start is not None:
                    find_origin(start, member, dataset)  # refuses what cannot be, before anything is written
            run = run_folder.create(workdir, config, dataset)
        members = []
        for member, start in zip(configs, starts, strict=True):
            _take_over(member, dataset, trained)
            members.append(fit(member, dataset, Path(member.workdir), listener=listener, init_from=start))
        score = fused_score_of(config.fusion, tuple(member.session.recipe.score for member in members))
        if (workdir / FUSION).is_dir():
            return FusedResult(run, score, restore_fused(run), members, *_read_choices(workdir))
        started = time.perf_counter()
        linear = fit_linear(config.fusion, dataset.train, dataset.num_items)
        factors = jax.block_until_ready(fit_factors(config.fusion, dataset.train, dataset.num_items))
        linear_seconds = time.perf_counter() - started if (linear, factors) != (None, None) else 0.0
        params = FusedParams(tuple(member.params for member in members), linear, jnp.float32(0.0), factors=factors)
        choices: Sequence[WeightChoice] = ()
        kinds = 1 + len(config.fusion.others)
        if linear is not None or factors is not None or kinds > 1:
            params, choices = choose_weight(
                score,
                params,
                members[0].session.validation,
                weights=config.fusion.weights,
                metric=SELECTION_METRIC,
                kinds=kinds,
                factor_weights=config.fusion.factor_weights,
            )
        _write_choices(workdir, choices, linear_seconds)  # first: the checkpoint is the sign of a finished model
        save_fused(workdir, params)
        return FusedResult(run, score, params, members, choices, linear_seconds)


def _check_epochs(run: RunFolder, config: ExperimentConfig) -> None:
    """Members that trained on would no longer be those whose weights were chosen."""
    ours, theirs = config.training.epochs, run.config.training.epochs
    if (run.path / FUSION).is_dir() and ours != theirs:
        raise UserError(
            f"{run.path} is a finished fusion of models with config.training.epochs={theirs}, now it is {ours}; "
            "choose another --config.workdir"
        )


def _member_starts(config: ExperimentConfig, init_from: WarmStart | None) -> list[WarmStart | None]:
    count = config.fusion.count
    if init_from is None:
        return [None] * count
    source = run_folder.load(init_from.source)
    if not source.config.fusion.fuses:
        return [init_from] * count
    ours, theirs = config.fusion, source.config.fusion
    if theirs.members < ours.members or len(theirs.others) < len(ours.others):
        raise UserError(
            f"{source.path} has config.fusion.members={theirs.members} and {len(theirs.others)} others, the new run "
            f"{ours.members} and {len(ours.others)}; each member starts from its own, kinds in their order: train "
            "fewer, or start all from a single run, if they have one body"
        )
    members = member_configs(source.config, source.path)
    kinds = [members[first : first + ours.members] for first in range(0, len(members), theirs.members)]
    return [
        init_from._replace(source=Path(member.workdir)) for kind in kinds[: 1 + len(ours.others)] for member in kind
    ]


def _take_over(member: ExperimentConfig, dataset: PreparedDataset, trained: Sequence[Path]) -> None:
    target = Path(member.workdir)
    for path in trained:
        run = run_folder.load(path)
        afresh = run.origin is None
        if afresh and not target.exists() and run_folder.is_resumable(run, member, dataset):
            staged = target.with_name(f".{target.name}")  # a copy may be cut short
            shutil.rmtree(staged, ignore_errors=True)
            shutil.copytree(path, staged)
            staged.replace(target)


def _write_choices(workdir: Path, choices: Sequence[WeightChoice], linear_seconds: float) -> None:
    values = {"linear_seconds": linear_seconds, "validation": [choice._asdict() for choice in choices]}
    write_json(workdir / CHOICES, values)


def _read_choices(workdir: Path) -> tuple[Sequence[WeightChoice], float]:
    try:
        values = json.loads((workdir / CHOICES).read_text(encoding="utf-8"))
        choices = [
            WeightChoice(**choice)._replace(shares=tuple(choice.get("shares", ()))) for choice in values["validation"]
        ]
        return choices, values["linear_seconds"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{workdir / CHOICES} cannot be read ({error}); restore a copy or train again") from error


def save_fused(workdir: Path, params: FusedParams) -> None:
    """Write the parameters of a fused model as the checkpoint of its run folder."""
    # The checkpoint of a model of one kind, or without factors, has no such entries.
    arrays = {name: value for name, value in params._asdict().items() if value is not None or name == "linear"}
    with closing(ocp.StandardCheckpointer()) as checkpointer:
        checkpointer.save((workdir / FUSION).absolute(), arrays)


def restore_fused(run: RunFolder) -> FusedParams:
    """Read the parameters of a fused model; raises UserError where they are missing or damaged."""
    folder = (run.path / FUSION).absolute()
    if not folder.is_dir():
        raise UserError(f"{run.path} holds no {FUSION} folder; its training has not ended: run bin/train.py again")
    fusion = run.config.fusion
    recipes, members = member_recipes(run.config, run.catalogue), member_configs(run.config, run.path)
    like: dict[str, Any] = {
        "members": tuple(
            jax.eval_shape(partial(init_state, recipe, member)).params
            for recipe, member in zip(recipes, members, strict=True)
        ),
        "linear": like_linear(fusion, run.vocabulary.height),
        "weight": jax.ShapeDtypeStruct((), jnp.float32),
    }
    if fusion.others:
        like["shares"] = jax.ShapeDtypeStruct((len(members),), jnp.float32)
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    try:
        with closing(ocp.StandardCheckpointer()) as checkpointer:
            if "factors" in checkpointer.metadata(folder).item_metadata.tree:  # else they were best left out
                like["factors"] = like_factors(fusion, run.vocabulary.height)
                like["factor_weight"] = jax.ShapeDtypeStruct((), jnp.float32)
            placed = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), like)
            return FusedParams(**checkpointer.restore(folder, placed))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UserError(f"{folder} cannot be read ({reason}); restore a copy or train again") from error
