"""TensorBoard event files of a run."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from piavae_jax.errors import UserError
from piavae_jax.training.fit import Silent


class TensorBoard(Silent):
    """A `Listener` that writes every number of an epoch's record, each run in a folder of its name."""

    def __init__(self, folder: Path) -> None:
        """Name the folder that holds those of the runs; raises UserError where tensorboardX is not installed."""
        try:
            import tensorboardX
        except ImportError as error:
            raise UserError(
                "config.training.tensorboard needs tensorboardX; install it with: pip install 'piavae-jax[tensorboard]'"
            ) from error
        self._folder, self._make_writer = folder, tensorboardX.SummaryWriter
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def run_started(self, *, name: str, epochs_done: int, epochs: int, steps: int) -> None:  # noqa: ARG002  a listener's
        """Open the event files, now that the run folder is there; epochs to be run again are replaced."""
        self._close()
        self._writer = self._make_writer(str(self._folder / name), purge_step=epochs_done + 1)

    def epoch_done(self, record: dict[str, Any]) -> None:
        """Write one epoch."""
        for name, value in record.items():
            self._writer.add_scalar(name, value, record["epoch"])

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
