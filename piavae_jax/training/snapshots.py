"""Parameters along a run, kept for analysis: what changes while a model learns."""

from pathlib import Path
from types import TracebackType
from typing import Self

import jax
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from piavae_jax.config import ExperimentConfig
from piavae_jax.errors import UserError
from piavae_jax.training.recipe import Recipe
from piavae_jax.training.state import init_state

FOLDER = "snapshots"


class Snapshots:
    """The parameters after some epochs of a run, one Orbax step each, which appears whole or not at all."""

    def __init__(self, workdir: Path, *, read_only: bool = False) -> None:
        folder = (workdir / FOLDER).absolute()
        if read_only and not folder.is_dir():
            raise UserError(
                f"{workdir} holds no {FOLDER}: train it with --config.training.snapshot_epochs=10, or another number"
            )
        options = ocp.CheckpointManagerOptions(create=not read_only, read_only=read_only)
        self._manager = ocp.CheckpointManager(folder, options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    @property
    def epochs(self) -> list[int]:
        """Those whose parameters are there, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, epoch: int, params: dict) -> None:
        """Keep the parameters of an epoch, unless they are there: a run that goes on after a crash gives them again."""
        if epoch not in self._manager.all_steps():
            self._manager.save(epoch, args=ocp.args.StandardSave(params))

    def restore(self, epoch: int, recipe: Recipe, config: ExperimentConfig) -> dict:
        """Read back the parameters of an epoch onto one device here.

        Raises:
          UserError: they are damaged, or not those of the recipe.
        """
        here = SingleDeviceSharding(jax.local_devices()[0])
        shapes = jax.eval_shape(lambda: init_state(recipe, config)).params
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), shapes)
        try:
            return self._manager.restore(epoch, args=ocp.args.StandardRestore(like))
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            raise UserError(
                f"{self._manager.directory / str(epoch)} cannot be read ({reason}); restore a copy or train again"
            ) from error
