"""The newest state of a run and its best parameters, on disk through Orbax."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import orbax.checkpoint as ocp

from piavae_jax.errors import UserError
from piavae_jax.training.state import TrainState

FOLDER = "checkpoints"


class Checkpoints:
    """A run's one checkpoint: the state after its newest saved epoch and the parameters of its best epoch.

    Both live in one Orbax step, which appears whole or not at all and replaces the one before. So a run killed at any
    instant finds a state, and the best parameters that belong to it. Writing goes on while training does.
    """

    def __init__(self, workdir: Path, *, read_only: bool = False) -> None:
        self._manager = ocp.CheckpointManager(
            (workdir / FOLDER).absolute(),
            item_handlers={"state": ocp.StandardCheckpointHandler(), "best": ocp.StandardCheckpointHandler()},
            options=ocp.CheckpointManagerOptions(
                max_to_keep=1, create=not read_only, read_only=read_only, cleanup_tmp_directories=not read_only
            ),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

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
          like: a state of the same structure, whose arrays give shapes, types and placement.

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
        with _damage_reported(folder):
            saved = _shapes(self._manager.item_metadata(epoch)["best"].tree)
        if saved != _shapes(like["best"]):
            raise UserError(f"{folder} holds other parameters than its config and vocabulary name; restore a copy")
        arguments = {name: ocp.args.StandardRestore(_abstract(tree)) for name, tree in like.items()}
        with _damage_reported(folder):
            return self._manager.restore(epoch, args=ocp.args.Composite(**arguments))


@contextmanager
def _damage_reported(folder: Any) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UserError(f"{folder} cannot be read ({reason}); restore a copy or train again") from error


def _abstract(tree: Any) -> Any:
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    return {jax.tree_util.keystr(path): tuple(leaf.shape) for path, leaf in jax.tree.leaves_with_path(tree)}
