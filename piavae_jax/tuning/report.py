"""The results of a search: a table, files for people and programs, pictures, and the command that repeats the best."""

import csv
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from piavae_jax.config import ExperimentConfig, apply_settings, to_dict
from piavae_jax.data.json_files import write_json
from piavae_jax.errors import UserError
from piavae_jax.training.session import SELECTION_METRIC
from piavae_jax.tuning.plots import draw_importances, draw_parallel_coordinates
from piavae_jax.tuning.progress import format_value
from piavae_jax.tuning.records import TrialRecord, best_record, trial_folder
from piavae_jax.tuning.spaces import Space
from piavae_jax.tuning.study import SharedStudy

TRIALS, BEST, PARALLEL, IMPORTANCE = "trials.csv", "best_config.json", "parallel_coordinates.png", "importance.png"
_SHOWN = 20


def write_trials(study: SharedStudy, root: Path) -> list[TrialRecord]:
    """Write all trials, best first, as `trials.csv`, and return their records."""
    with study.lock:
        records = study.records()
        staged = root / f".{TRIALS}"
        with staged.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["trial", "state", f"validation/{SELECTION_METRIC}", "best_epoch", "epochs", *study.space])
            writer.writerows(
                [
                    record.number,
                    record.state,
                    record.quality,
                    record.best_epoch,
                    record.epochs,
                    *record.settings.values(),
                ]
                for record in records
            )
        staged.replace(root / TRIALS)
    return records


def report_search(
    study: SharedStudy,
    config: ExperimentConfig,
    root: Path,
    *,
    file: str,
    overrides: Mapping[str, Any],
    console: Console,
) -> None:
    """Write what is known of a search into its folder, and show it.

    Args:
      study: the search.
      config: the experiment around which it searched.
      root: its folder.
      file: the config file.
      overrides: fields of `config` that differ from what the file says.
      console: where to print.
    """
    records = write_trials(study, root)
    console.print(trials_table(records, study.space))
    best = best_record(records)
    written = [TRIALS]
    with study.lock:
        if best is not None:
            write_json(root / BEST, to_dict(apply_settings(config, best.settings)))
            written.append(BEST)
        title = f"{config.name}: {len(records)} trials"
        pictures: dict[str, Callable[[Path], None]] = {
            PARALLEL: lambda path: draw_parallel_coordinates(records, study.space, path, title=title),
            IMPORTANCE: lambda path: draw_importances(study.importances(), path, title=title),
        }
        written += [name for name, draw in pictures.items() if _draw(draw, root / name, console)]
    console.print(f"folder  {root}\n  {', '.join(written)}, trial-*/", highlight=False, markup=False)
    if best is not None:
        folder = root / trial_folder(best.number)
        console.print(f"next  python bin/evaluate.py --workdir {folder}", highlight=False, markup=False, soft_wrap=True)
        settings = {**overrides, **best.settings, "name": f"{config.name}-best"}
        console.print(f"or    {train_command(file, settings)}", highlight=False, markup=False, soft_wrap=True)


def _draw(draw: Callable[[Path], None], path: Path, console: Console) -> bool:
    staged = path.with_name(f".{path.name}")
    try:
        draw(staged)
    except UserError as error:
        console.print(f"no {path.name}: {error}", highlight=False, markup=False)
        return False
    staged.replace(path)
    return True


def train_command(file: str, settings: Mapping[str, Any]) -> str:
    """The command line that trains a config file with other values of some fields."""
    flags = [f"--config.{path}={value}" for path, value in settings.items()]
    return shlex.join(["python", "bin/train.py", "--config", file, *flags])


def trials_table(records: list[TrialRecord], space: Space) -> Table:
    """The first trials of records that are best first, a row each."""
    table = Table(
        title="best first",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
    )
    for name in ("trial", "nDCG\n@100", "best\nepoch"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for path in space:
        table.add_column(path.replace(".", ".\n"), justify="right", overflow="fold")
    if len(records) > _SHOWN:
        table.caption = f"the first {_SHOWN} of {len(records)} trials"
    for record in records[:_SHOWN]:
        table.add_row(*_cells(record, space))
    return table


def _cells(record: TrialRecord, space: Space) -> list[str]:
    quality = "" if record.quality is None else f"{record.quality:.4f}"
    settings = [format_value(record.settings[path]) if path in record.settings else "" for path in space]
    epoch = f"{record.best_epoch} of {record.epochs}" if record.epochs else ""
    return [str(record.number), quality, epoch, record.state, *settings]
