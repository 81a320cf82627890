"""One experiment from config to result table: what `bin/train.py` does."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from piavae_jax.config import ExperimentConfig, FusionConfig, validate
from piavae_jax.data.prepared import PreparedDataset, load_prepared
from piavae_jax.distributed import is_primary
from piavae_jax.errors import UserError
from piavae_jax.evaluation import UserMetrics, parse_metrics, systems_table
from piavae_jax.training.curves import draw_curves
from piavae_jax.training.ensemble import FusedResult, fit_fused
from piavae_jax.training.fit import FitResult, Listener, fit
from piavae_jax.training.fusion import WeightChoice
from piavae_jax.training.progress import ProgressBar
from piavae_jax.training.results import evaluate_run, write_results
from piavae_jax.training.run_folder import Origin
from piavae_jax.training.session import SELECTION_METRIC
from piavae_jax.training.tensorboard import TensorBoard
from piavae_jax.training.warm_start import WarmStart

CURVES = "curves.png"


class Listeners:
    """Several listeners as one."""

    def __init__(self, listeners: list[Listener]) -> None:
        self._listeners = listeners

    def run_started(self, **event: Any) -> None:
        """Tell each."""
        for listener in self._listeners:
            listener.run_started(**event)

    def chunk_done(self, **event: Any) -> None:
        """Tell each."""
        for listener in self._listeners:
            listener.chunk_done(**event)

    def epoch_done(self, record: dict[str, Any]) -> None:
        """Tell each; what one raises ends the run, and those behind it do not hear of the epoch."""
        for listener in self._listeners:
            listener.epoch_done(record)


def run_experiment(
    config: ExperimentConfig, *, console: Console, quiet: bool = False, init_from: WarmStart | None = None
) -> FitResult | FusedResult:
    """Train (or go on training), evaluate on the test users, write and show the results.

    All processes of a job call this alike; process 0 writes and shows. A new run starts from the run of `init_from`.

    Raises:
      UserError: for every mistake in config, data or run folder, before anything is written where that is possible.
    """
    validate(config)
    parse_metrics(config.evaluation.metrics)
    dataset = load_prepared(config.data.path)
    if dataset.test.target.nnz == 0:
        raise UserError(
            f"{config.data.path} has no held-out interactions to test on; prepare it with more held-out users"
        )
    workdir = Path(config.workdir or Path("runs") / config.name)
    with ExitStack() as stack:
        listeners: list[Listener] = []
        if is_primary() and not quiet:
            listeners.append(stack.enter_context(ProgressBar(console)))
        if is_primary() and config.training.tensorboard:
            listeners.append(stack.enter_context(TensorBoard(workdir / "tensorboard")))
        if config.fusion.fuses:
            return _run_fused(config, dataset, workdir, Listeners(listeners), console, init_from)
        result = fit(config, dataset, workdir, listener=Listeners(listeners), init_from=init_from)
    model, popularity = evaluate_run(
        result.run, result.session.recipe.score, result.params, dataset, item_shards=config.training.item_shards
    )
    if is_primary():
        write_results(result.run, model, dataset, split="test")
        _show_results(result, {config.name: model, "popularity": popularity}, dataset, console)
    return result


def _run_fused(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    workdir: Path,
    listener: Listener,
    console: Console,
    init_from: WarmStart | None,
) -> FusedResult:
    result = fit_fused(config, dataset, workdir, listener=listener, init_from=init_from)
    fused, popularity = evaluate_run(result.run, result.score, result.params, dataset)
    systems = {config.name: fused} | {
        member.run.config.name: evaluate_run(member.run, member.session.recipe.score, member.params, dataset)[0]
        for member in result.members
    }
    write_results(result.run, fused, dataset, split="test")
    console.print(systems_table(systems | {"popularity": popularity}, title=f"test users of {dataset.name}"))
    for member in result.members:
        _show_origin(member.run.origin, console)
    if result.choices:
        console.print(_choices_table(result.choices, config.fusion))
    console.print(
        f"run folder  {workdir}\n  fusion/ (all that recommends), members/, results/\n"
        f"next  python bin/evaluate.py --workdir {workdir}",
        highlight=False,
        markup=False,
    )
    return result


def _choices_table(choices: Sequence[WeightChoice], fusion: FusionConfig) -> Table:
    """What each weight reached, with each shares of the kinds, in the order they were tried."""
    columns = {"shares": bool(fusion.others), fusion.linear: fusion.linear != "none"}
    columns[fusion.factors] = fusion.factors != "none"
    shown = [name for name, is_there in columns.items() if is_there]
    title = f"{SELECTION_METRIC} on validation"
    table = Table(*shown, "reached", title=title, title_justify="left", box=box.SIMPLE_HEAD, min_width=len(title))
    best = max(choices, key=lambda choice: choice.metric)
    for choice in choices:
        cells = {
            "shares": " / ".join(f"{share:.3g}" for share in choice.shares),
            fusion.linear: f"{choice.weight:g}",
            fusion.factors: f"{choice.factor_weight:g}",
        }
        reached = f"{choice.metric:.4f}".removeprefix("0")
        table.add_row(*(cells[name] for name in shown), reached, style="bold" if choice is best else "")
    return table


def _show_results(
    result: FitResult, systems: dict[str, UserMetrics], dataset: PreparedDataset, console: Console
) -> None:
    name, workdir = result.run.config.name, result.run.path
    title = f"test users of {dataset.name}, best epoch {result.best_epoch}"
    console.print(systems_table(systems, title=title))
    _show_origin(result.run.origin, console)
    try:
        draw_curves(result.records, workdir / CURVES, title=f"{name} on {dataset.name}")
    except UserError as error:
        console.print(f"no {CURVES}: {error}", highlight=False, markup=False)
    console.print(
        f"run folder  {workdir}\n  metrics.jsonl, {CURVES}, results/, checkpoints/\n"
        f"next  python bin/evaluate.py --workdir {workdir}",
        highlight=False,
        markup=False,
    )


def _show_origin(origin: Origin | None, console: Console) -> None:
    if origin is None:
        return
    console.print(
        f"started from {origin.path}, trained on {origin.data}\n  items: {origin.kept:,} kept, "
        f"{origin.from_neighbours:,} new from their neighbours, {origin.fresh:,} new and fresh, "
        f"{origin.dropped:,} dropped",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
