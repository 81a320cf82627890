"""Parameters along a run, kept for analysis: what changes while a model learns."""

from pathlib import Path

import orbax.checkpoint as ocp

from piavae_jax.config import ExperimentConfig
from piavae_jax.errors import UserError
from piavae_jax.training.checkpoint import ManagedFolder, damage_reported, params_here
from piavae_jax.training.recipe import Recipe

FOLDER = "snapshots"


class Snapshots(ManagedFolder):
    """The parameters after some epochs of a run, one Orbax step each, which appears whole or not at all."""

    def __init__(self, workdir: Path, *, read_only: bool = False) -> None:
        folder = (workdir / FOLDER).absolute()
        if read_only and not folder.is_dir():
            raise UserError(
                f"{workdir} holds no {FOLDER}: train it with --config.training.snapshot_epochs=10, or another number"
            )
        options = ocp.CheckpointManagerOptions(
            create=not read_only, read_only=read_only, cleanup_tmp_directories=not read_only
        )
        super().__init__(ocp.CheckpointManager(folder, options=options))

    @property
    def epochs(self) -> list[int]:
        """Those whose parameters are there, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, epoch: int, params: dict) -> None:
        """Keep the parameters of an epoch, unless they are there: a run that goes on after a crash gives them again."""
        if epoch not in self._manager.all_steps():
            # Forced: after a crash the run may be at an epoch before the last one that was kept.
            self._manager.save(epoch, args=ocp.args.StandardSave(params), force=True)

    def restore(self, epoch: int, recipe: Recipe, config: ExperimentConfig) -> dict:
        """Read back the parameters of an epoch onto one device here.

        Raises:
          UserError: they are damaged, or not those of the recipe.
        """
        like = params_here(recipe, config)
        with damage_reported(self._manager.directory / str(epoch)):
            return self._manager.restore(epoch, args=ocp.args.StandardRestore(like))
