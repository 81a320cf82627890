"""The newest state of a run and its best parameters, on disk through Orbax."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax
import orbax.checkpoint as ocp
from jax.sharding import NamedSharding, SingleDeviceSharding

from piavae_jax.config import ExperimentConfig
from piavae_jax.errors import UserError
from piavae_jax.training.recipe import Recipe
from piavae_jax.training.state import TrainState, init_state

FOLDER = "checkpoints"


def saved_epoch(workdir: Path) -> int:
    """The epoch of a run's checkpoint, 0 where there is none, for one process alone: Orbax's managers of several wait
    for one another."""
    return max((int(path.name) for path in (workdir / FOLDER).glob("*") if path.name.isdecimal()), default=0)


class ManagedFolder:
    """An Orbax manager that waits for its last file and closes where its block ends."""

    def __init__(self, manager: ocp.CheckpointManager) -> None:
        self._manager = manager

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._manager.wait_until_finished()
        self._manager.close()


class Checkpoints(ManagedFolder):
    """A run's one checkpoint: the state after its newest saved epoch and the parameters of its best epoch.

    Both live in one Orbax step, which appears whole or not at all and replaces the one before. So a run killed at any
    instant finds a state, and the best parameters that belong to it. Writing goes on while training does.

    Tables that are split over devices are saved with their padding, and restored on any other number of devices: cut,
    or padded with zeros, to the size that they have there.
    """

    def __init__(self, workdir: Path, *, read_only: bool = False) -> None:
        manager = ocp.CheckpointManager(
            (workdir / FOLDER).absolute(),
            item_handlers={"state": ocp.StandardCheckpointHandler(), "best": ocp.StandardCheckpointHandler()},
            options=ocp.CheckpointManagerOptions(
                max_to_keep=1, create=not read_only, read_only=read_only, cleanup_tmp_directories=not read_only
            ),
        )
        super().__init__(manager)

    @property
    def epoch(self) -> int | None:
        """The epoch of the saved state; None before the first."""
        return self._manager.latest_step()

    def save(self, state: TrainState, best: dict) -> None:
        """Save the state after an epoch with the best epoch's parameters; returns before the files are written."""
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), best=ocp.args.StandardSave(best))
        self._manager.save(int(state.epoch), args=items)

    def restore(self, like: TrainState) -> tuple[TrainState, dict]:
        """Read back the saved state and the best parameters.

        Args:
          like: a state of the same structure, whose arrays or `ShapeDtypeStruct`s give shapes, types and placement.

        Raises:
          UserError: the files do not hold such a state.
        """
        restored = self._restore(state=like, best=like.params)
        return restored["state"], restored["best"]

    def restore_best(self, like: dict) -> dict:
        """Read back the best parameters alone; `like` holds arrays or `ShapeDtypeStruct`s, errors as for `restore`."""
        return self._restore(best=like)["best"]

    def _restore(self, **like: Any) -> ocp.args.Composite:
        folder, epoch = self._manager.directory, self.epoch
        if epoch is None:
            raise UserError(f"{folder} holds no checkpoint; train for at least one epoch first")
        with damage_reported(folder):
            saved, here = _sizes(self._manager.item_metadata(epoch)["best"].tree), _sizes(like["best"])
        if not _equal_but_for_padding(saved, here):
            raise UserError(f"{folder} holds other parameters than its config and vocabulary name; restore a copy")
        restore = partial(ocp.args.StandardRestore, strict=saved == here)  # else Orbax cuts and pads
        arguments = {name: restore(abstract(tree)) for name, tree in like.items()}
        with damage_reported(folder):
            return self._manager.restore(epoch, args=ocp.args.Composite(**arguments))


def best_params(workdir: Path, recipe: Recipe, config: ExperimentConfig) -> dict:
    """Read back the best parameters of a run's model onto one device here; the run may be in training.

    Raises:
      UserError: there are none, or they are not those of the recipe.
    """
    like = params_here(recipe, config)
    while True:
        with Checkpoints(workdir, read_only=True) as checkpoints:
            try:
                return checkpoints.restore_best(like)
            except UserError:
                if saved_epoch(workdir) == (checkpoints.epoch or 0):
                    raise
        # Training has put another checkpoint in the place of the one that was being read.


def params_here(recipe: Recipe, config: ExperimentConfig) -> dict:
    """Shapes and types of a model's parameters, placed on one device here.

    A checkpoint names the devices that it was saved from; ours may be fewer, or others.
    """
    here = SingleDeviceSharding(jax.local_devices()[0])
    shapes = jax.eval_shape(lambda: init_state(recipe, config)).params
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), shapes)


@contextmanager
def damage_reported(folder: Any) -> Iterator[None]:
    """Turn what Orbax raises about a checkpoint that it cannot read into a UserError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UserError(f"{folder} cannot be read ({reason}); restore a copy or train again") from error


def abstract(tree: Any) -> Any:
    """Shapes, types and placement of the arrays of a tree, without their values."""
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)


class _Size(NamedTuple):
    """A dimension that is padded to a multiple of its shards: without padding it is in (padded - shards, padded]."""

    padded: int
    shards: int


def _sizes(tree: Any) -> dict[str, list[_Size]]:
    """The dimensions of arrays, of `ShapeDtypeStruct`s or of Orbax's metadata of them."""
    return {
        jax.tree_util.keystr(path): list(map(_Size, leaf.shape, _shards(leaf.sharding, len(leaf.shape))))
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def _shards(sharding: Any, rank: int) -> list[int]:
    if isinstance(sharding, NamedSharding):
        names, axes = [*sharding.spec], sharding.mesh.shape
    elif hasattr(sharding, "partition_spec"):  # what Orbax keeps of a NamedSharding
        names, axes = [*sharding.partition_spec], dict(zip(sharding.axis_names, sharding.shape, strict=True))
    else:
        names, axes = [], {}
    return [int(axes[name]) if name else 1 for name in names + [None] * (rank - len(names))]


def _equal_but_for_padding(saved: dict[str, list[_Size]], here: dict[str, list[_Size]]) -> bool:
    return saved.keys() == here.keys() and all(
        len(saved[name]) == len(here[name])
        and all(one.padded - one.shards < other.padded for one, other in zip(saved[name], here[name], strict=True))
        and all(one.padded - one.shards < other.padded for one, other in zip(here[name], saved[name], strict=True))
        for name in saved
    )
