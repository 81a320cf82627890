"""What is compiled for a run, found again by the next run of the process that would compile the same.

Seeds of a benchmark, members of a fusion and the parts of a run that is stopped and goes on differ in nothing that is
compiled. JAX finds a compiled program by the function that it was compiled for, so equal settings must give one object.
"""

import functools
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec

from piavae_jax import schedules
from piavae_jax.config import ExperimentConfig, from_dict, to_dict
from piavae_jax.config.schema import OF_THE_RUN
from piavae_jax.evaluation import ITEM_AXIS
from piavae_jax.schedules import AdaptiveWeight
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.layout import item_specs
from piavae_jax.training.recipe import Recipe
from piavae_jax.training.recipes import build_recipe
from piavae_jax.training.state import TrainState, init_state, make_weight_schedule
from piavae_jax.training.step import InverseActivity, RunSteps, make_run_steps, make_train_step

_KEPT = 8
"""Configs of which programs are kept: the kinds of a fusion, not the trials of a search."""
_OF_THE_LOOP = ("epochs", "early_stopping", "checkpoint_seconds", "snapshot_epochs", "tensorboard")
"""Fields of `config.training` that the host reads between steps."""


class Programs(NamedTuple):
    """The compiled part of a run's machinery."""

    recipe: Recipe
    run_steps: Mapping[str, RunSteps]
    """By phase of the recipe."""
    kl_schedule: optax.Schedule
    weight_schedule: AdaptiveWeight
    state_specs: Any
    """Which arrays of a state are split along items over the mesh: `PartitionSpec`s, one for all or one each."""


def recipe_of(config: ExperimentConfig, catalogue: Catalogue) -> Recipe:
    """`build_recipe` of items that are not split: the same object for equal settings. Not to be called in a trace."""
    return _recipe(_Inputs.of(config, catalogue), None)


def programs_of(
    config: ExperimentConfig, catalogue: Catalogue, *, user_weight: InverseActivity | None, mesh: Mesh | None
) -> Programs:
    """The programs of a run over the devices of a mesh: the same objects for equal settings."""
    return _programs(_Inputs.of(config, catalogue), user_weight, mesh)


def forget() -> None:
    """Drop all that is kept, for those who change what is compiled."""
    _recipe.cache_clear()
    _programs.cache_clear()


class _Inputs(NamedTuple):
    """All that programs depend on besides users' weights and devices, as values that compare."""

    settings: str
    train_users: bytes
    num_train_users: int

    @classmethod
    def of(cls, config: ExperimentConfig, catalogue: Catalogue) -> Self:
        compiled = {name: value for name, value in to_dict(config).items() if name not in OF_THE_RUN}
        training = {name: value for name, value in compiled["training"].items() if name not in _OF_THE_LOOP}
        settings = json.dumps(compiled | {"training": training})
        return cls(settings, catalogue.train_users.astype(np.int64).tobytes(), catalogue.num_train_users)

    @property
    def config(self) -> ExperimentConfig:
        return from_dict(json.loads(self.settings))

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(np.frombuffer(self.train_users, np.int64), self.num_train_users)


@functools.lru_cache(maxsize=_KEPT)
def _recipe(inputs: _Inputs, item_axis: str | None) -> Recipe:
    return build_recipe(inputs.config, inputs.catalogue, item_axis=item_axis)


@functools.lru_cache(maxsize=_KEPT)
def _programs(inputs: _Inputs, user_weight: InverseActivity | None, mesh: Mesh | None) -> Programs:
    config = inputs.config
    split = config.training.item_shards > 1
    recipe = _recipe(inputs, ITEM_AXIS if split else None)
    state_specs = _state_specs(config, inputs.catalogue) if split else PartitionSpec()
    kl_schedule, weight_schedule = _make_kl_schedule(config), make_weight_schedule(config)
    return Programs(
        recipe=recipe,
        run_steps={
            phase.name: make_run_steps(
                make_train_step(phase, kl_schedule, weight_schedule, user_weight), mesh, state_specs
            )
            for phase in recipe.phases
        },
        kl_schedule=kl_schedule,
        weight_schedule=weight_schedule,
        state_specs=state_specs,
    )


def _make_kl_schedule(config: ExperimentConfig) -> optax.Schedule:
    """beta by the update count, as the config says."""
    kl = config.kl
    if kl.schedule == "constant":
        return optax.constant_schedule(jnp.float32(kl.cap))
    if kl.schedule == "cyclical":
        return schedules.cyclical(cap=kl.cap, period=kl.period)
    return schedules.linear_to_cap(cap=kl.cap, total_steps=kl.total_steps)


def _state_specs(config: ExperimentConfig, catalogue: Catalogue) -> TrainState:
    def init(num_items: int) -> TrainState:
        return init_state(build_recipe(config, catalogue.resized(num_items)), config)

    return item_specs(init, catalogue.num_items)
