"""TensorBoard event files of a run."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from piavae_jax.errors import UserError
from piavae_jax.training.fit import Silent


class TensorBoard(Silent):
    """A `Listener` that writes every number of an epoch's record."""

    def __init__(self, folder: Path) -> None:
        """Open `folder` for event files; raises UserError where tensorboardX is not installed."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise UserError(
                "config.training.tensorboard needs tensorboardX; install it with: pip install 'piavae-jax[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(str(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()

    def epoch_done(self, record: dict[str, Any]) -> None:
        """Write one epoch."""
        for name, value in record.items():
            self._writer.add_scalar(name, value, record["epoch"])
