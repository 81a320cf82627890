"""Training a fused model: its members in run folders of their own, then one checkpoint that holds them all."""

import copy
import json
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from piavae_jax.config import ExperimentConfig, FusionConfig
from piavae_jax.data.json_files import write_json
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.errors import UserError
from piavae_jax.evaluation import ScoreFn
from piavae_jax.training import run_folder
from piavae_jax.training.fit import FitResult, Listener, fit
from piavae_jax.training.fusion import (
    FusedParams,
    WeightChoice,
    choose_weight,
    fit_linear,
    fuses,
    like_linear,
    linear_score_of,
    make_fused_score,
)
from piavae_jax.training.recipe import Recipe
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
    """What each weight reached on validation; empty without a linear model."""
    linear_seconds: float
    """What fitting the linear model took; 0 without one."""


def member_config(config: ExperimentConfig, number: int, workdir: Path) -> ExperimentConfig:
    """The experiment of one member: the config with a seed of its own, unfused, in `members/SEED`."""
    member = copy.deepcopy(config)
    member.seed += number
    member.name = f"{config.name}-{member.seed}"
    member.fusion = FusionConfig()
    member.workdir = str(workdir / MEMBERS / str(member.seed))
    return member


def fit_fused(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    workdir: Path,
    *,
    listener: Listener | None = None,
    trained: Iterable[Path] = (),
    init_from: WarmStart | None = None,
) -> FusedResult:
    """Train what is missing of a fused model's members, fit the linear model, choose its weight on validation.

    Called again it goes on where it stopped; a finished one is read. Arguments and errors as `fit`, and

    Args:
      trained: run folders; one that is what a member will be is copied in its place, not trained again.
      init_from: an earlier run to start from: a fused one gives each member its own, any other is the start of all.
    """
    with run_folder.locked(workdir):
        starts = _member_starts(config, init_from)
        if run_folder.exists(workdir):
            run = run_folder.load(workdir)
            run_folder.check_resumable(run, config, dataset)
        else:
            for start in starts:
                if start is not None:
                    find_origin(start, config, dataset)  # refuses what cannot be, before anything is written
            run = run_folder.create(workdir, config, dataset)
        members = []
        for number, start in enumerate(starts):
            member = member_config(config, number, workdir)
            _take_over(member, dataset, trained)
            members.append(fit(member, dataset, Path(member.workdir), listener=listener, init_from=start))
        recipe = members[0].session.recipe
        score = make_fused_score(recipe.score, linear_score_of(config.fusion))
        if (workdir / FUSION).is_dir():
            return FusedResult(run, score, restore_fused(run, recipe), members, *_read_choices(workdir))
        started = time.perf_counter()
        linear = fit_linear(config.fusion, dataset.train, dataset.num_items)
        linear_seconds = 0.0 if linear is None else time.perf_counter() - started
        params = FusedParams(tuple(member.params for member in members), linear, jnp.float32(0.0))
        choices: Sequence[WeightChoice] = ()
        if linear is not None:
            params, choices = choose_weight(
                score,
                params,
                members[0].session.validation,
                weights=config.fusion.weights,
                metric=SELECTION_METRIC,
            )
        _write_choices(workdir, choices, linear_seconds)  # first: the checkpoint is the sign of a finished model
        with closing(ocp.StandardCheckpointer()) as checkpointer:
            checkpointer.save((workdir / FUSION).absolute(), params._asdict())
        return FusedResult(run, score, params, members, choices, linear_seconds)


def _member_starts(config: ExperimentConfig, init_from: WarmStart | None) -> list[WarmStart | None]:
    count = config.fusion.members
    if init_from is None:
        return [None] * count
    source = run_folder.load(init_from.source)
    if not fuses(source.config):
        return [init_from] * count
    if source.config.fusion.members < count:
        raise UserError(
            f"{source.path} has config.fusion.members={source.config.fusion.members}, the new run {count}; "
            "each member starts from one of its own: train fewer, or start from a single one"
        )
    paths = (Path(member_config(source.config, number, source.path).workdir) for number in range(count))
    return [init_from._replace(source=path) for path in paths]


def _take_over(member: ExperimentConfig, dataset: PreparedDataset, trained: Iterable[Path]) -> None:
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
        return [WeightChoice(**choice) for choice in values["validation"]], values["linear_seconds"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{workdir / CHOICES} cannot be read ({error}); restore a copy or train again") from error


def restore_fused(run: RunFolder, recipe: Recipe) -> FusedParams:
    """Read the parameters of a fused model; raises UserError where they are missing or damaged."""
    folder = (run.path / FUSION).absolute()
    if not folder.is_dir():
        raise UserError(f"{run.path} holds no {FUSION} folder; its training has not ended: run bin/train.py again")
    fusion = run.config.fusion
    like = {
        "members": (jax.eval_shape(lambda: init_state(recipe, run.config)).params,) * fusion.members,
        "linear": like_linear(fusion, run.vocabulary.height),
        "weight": jax.ShapeDtypeStruct((), jnp.float32),
    }
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    placed = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), like)
    try:
        with closing(ocp.StandardCheckpointer()) as checkpointer:
            return FusedParams(**checkpointer.restore(folder, placed))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UserError(f"{folder} cannot be read ({reason}); restore a copy or train again") from error
