"""What a person sees of a run: a bar that moves in a terminal, a line an epoch in a log."""

from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from piavae_jax.training.epoch import EpochMeans
from piavae_jax.training.session import SELECTION_METRIC

_TERMS = ("loss", "nll", "kl", "anchor", "consistency", "warp", "lambdarank", "critic", "ndcg")
_VALIDATION = f"validation/{SELECTION_METRIC}"


def describe_terms(record: dict[str, Any]) -> str:
    """The losses of an epoch, their weights and the speed."""
    terms = [f"{name} {record[name]:.2f}" for name in _TERMS if name in record]
    weights = [f"beta {record['beta']:.3f}"]
    if "anchor" in record:
        weights.append(f"lambda_A {record['anchor_weight']:.2f}")
    return "  ".join([*terms, *weights, f"{record['users_per_second']:,.0f} users/s"])


def describe_quality(record: dict[str, Any]) -> str:
    """The validation nDCG@100 of an epoch, and whether it is the best so far."""
    is_best = record["best_epoch"] == record["epoch"]
    return f"nDCG@100 {record[_VALIDATION]:.4f} " + ("(best)" if is_best else f"(best: epoch {record['best_epoch']})")


class ProgressBar:
    """A `Listener` that draws on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.fields[name]}  epoch", markup=False),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self._details = Text(no_wrap=True, overflow="ellipsis")
        self._live = Live(Group(self._progress, self._details), console=console, transient=True)
        self._task = self._progress.add_task("compiling", total=None, name="")
        self._steps = 1

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def run_started(self, *, name: str, epochs_done: int, epochs: int, steps: int) -> None:
        """Begin the bar of a run."""
        self._steps = steps
        self._progress.reset(self._task, total=epochs, completed=epochs_done, description="compiling", name=name)
        if epochs_done:
            self._print(f"{name}  going on after epoch {epochs_done} of {epochs}")
        elif not self._console.is_terminal:
            self._print(f"{name}  up to {epochs} epochs of {steps} steps")

    def chunk_done(self, *, epoch: int, step: int, means: EpochMeans) -> None:
        """Show the steps of an epoch that takes several chunks."""
        if step < self._steps:
            self._details.plain = f"epoch {epoch}  step {step}/{self._steps}  loss {means.loss:.2f}"

    def epoch_done(self, record: dict[str, Any]) -> None:
        """Move the bar by an epoch, or print its line where there is no terminal."""
        quality, terms = describe_quality(record), describe_terms(record)
        self._progress.update(self._task, completed=record["epoch"], description=quality)
        self._details.plain = terms
        if not self._console.is_terminal:
            self._print(f"epoch {record['epoch']:>4}  {terms}  {quality}")

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False)
