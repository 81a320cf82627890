"""What studies are made from: trained runs, their data, a benchmark, a search."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from piavae_jax.analysis.subject import Subject, load_subject
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.errors import UserError
from piavae_jax.evaluation import UserMetrics
from piavae_jax.training.restore import restore
from piavae_jax.training.results import make_run_evaluator
from piavae_jax.training.run_folder import RunFolder

Entry = TypeVar("Entry")


@dataclass(frozen=True, eq=False)
class Material:
    """The runs in the order given, the first one being what others are compared with.

    Models are restored and measured once, when the first study asks for them.
    """

    runs: dict[str, RunFolder]
    """By label, such as "masking + PIA"; all on the same data."""
    prepared: PreparedDataset | None
    """The data of the runs; None without runs."""
    benchmark: Path | None
    """A folder of `bin/benchmark.py`, on the same data as the runs."""
    sensitivity: Path | None
    """A folder of `bin/tune.py`."""
    seed: int
    """Of whatever a study draws."""
    console: Console

    @property
    def dataset(self) -> PreparedDataset:
        """The data of the runs.

        Raises:
          UserError: there are no runs.
        """
        if self.prepared is None:
            raise UserError("there are no runs: pass run folders with --workdir")
        return self.prepared

    @cached_property
    def subjects(self) -> dict[str, Subject]:
        """The models with their encoders, by label.

        Raises:
          UserError: a run has no posterior or no checkpoint.
        """
        return {label: load_subject(run.path, name=label) for label, run in self.runs.items()}

    @cached_property
    def test_users(self) -> dict[str, UserMetrics]:
        """Each test user's values, by label.

        Raises:
          UserError: a run has no checkpoint.
        """
        measured = {}
        for label, run in self.track(self.runs.items(), "ranking for test users"):
            trained = restore(run.path)
            evaluator = make_run_evaluator(run, self.dataset, split="test")
            measured[label] = evaluator.evaluate(trained.score, trained.params)
        return measured

    def say(self, text: str) -> None:
        """Tell the person who waits what goes on."""
        self.console.print(f"    {text}", highlight=False, markup=False, soft_wrap=True)

    def track(self, entries: Iterable[Entry], text: str) -> Iterator[Entry]:
        """Yield the entries under a bar or, where there is no terminal, after a line."""
        known = list(entries)
        if not self.console.is_terminal:
            self.say(text)
            yield from known
            return
        yield from track(known, f"    {text}", console=self.console, transient=True)
