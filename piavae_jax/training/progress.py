"""What a person sees of a run: a bar that moves in a terminal, a line an epoch in a log."""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from piavae_jax.training.epoch import EpochMeans
from piavae_jax.training.session import SELECTION_METRIC

_VALIDATION = f"validation/{SELECTION_METRIC}"


def describe(record: dict[str, Any]) -> str:
    """One epoch in one line."""
    terms = [f"{name} {record[name]:.2f}" for name in ("nll", "kl", "anchor") if name in record]
    weights = [f"beta {record['beta']:.3f}"]
    if "anchor" in record:
        weights.append(f"lambda_A {record['anchor_weight']:.2f}")
    new_best = " (best)" if record["best_epoch"] == record["epoch"] else ""
    return "  ".join(
        [
            f"loss {record['loss']:.2f}",
            *terms,
            *weights,
            f"{record['users_per_second']:,.0f} users/s",
            f"nDCG@100 {record[_VALIDATION]:.4f}{new_best}",
        ]
    )


class ProgressBar:
    """A `Listener` that draws on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("compiling", total=None)
        self._steps = 1

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def run_started(self, *, epochs_done: int, epochs: int, steps: int) -> None:
        """Set the scale of the bar."""
        self._steps = steps
        self._progress.update(self._task, total=epochs, completed=epochs_done)
        if epochs_done:
            self._console.print(f"going on after epoch {epochs_done} of {epochs}")

    def chunk_done(self, *, epoch: int, step: int, means: EpochMeans) -> None:
        """Move the bar within an epoch."""
        if step < self._steps:
            text = f"epoch {epoch}  step {step}/{self._steps}  loss {means.loss:.2f}"
            self._progress.update(self._task, description=text)

    def epoch_done(self, record: dict[str, Any]) -> None:
        """Move the bar by an epoch, or print its line where there is no terminal."""
        self._progress.update(self._task, completed=record["epoch"], description=describe(record))
        if not self._console.is_terminal:
            self._console.print(f"epoch {record['epoch']:>4}  {describe(record)}", soft_wrap=True)
