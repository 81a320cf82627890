"""How long the commands take to start.

    python bin/prepare.py movielens --download ml-1m --out data/ml1m --heldout-users 600
    python bench/startup.py

`--help` of every command; then `bin/train.py` from its start to the end of its first epoch of training, which is ten
steps on MovieLens-1M and so an upper bound of the first, with an empty cache of compiled programs and with a full one.
Processes are watched from outside: the end of the epoch is the moment when its line stands in `metrics.jsonl`, less the
seconds of validation that the line gives. Rounds take turns; the table has the fastest and the median of each.

CPU seconds are user and system time of the whole process, validation included: what an idle machine would need less of.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import harness
from rich.table import Table

ROOT = harness.ROOT
COMMANDS = ("prepare", "train", "evaluate", "tune")
LIMIT_SECONDS = 600.0


class Start(NamedTuple):
    """One start of a command."""

    wall: float
    """Seconds from the command to what was waited for."""
    cpu: float
    """User and system seconds of the process until it ended."""


def start_help(command: str) -> Start:
    """Run a command with --help."""
    started = time.perf_counter()
    process = _launch(command, "--help")
    cpu = _wait(process)
    return Start(time.perf_counter() - started, cpu)


def start_training(config: Path, cache: Path) -> Start:
    """Run bin/train.py until its first epoch is validated, then end it."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder) / "run"
        arguments = [f"--config={config}", f"--config.workdir={workdir}", "--config.training.epochs=2", "--quiet"]
        started = time.perf_counter()
        process = _launch("train", *arguments, PIAVAE_CACHE_DIR=str(cache))
        record = _first_record(process, workdir / "metrics.jsonl", deadline=started + LIMIT_SECONDS)
        wall = time.perf_counter() - started - record["validation_seconds"]
        process.kill()
        return Start(wall, _wait(process))


def _launch(command: str, *arguments: str, **changes: str) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "bin" / f"{command}.py"), *arguments],
        cwd=ROOT,
        env=environment | changes,
        stdout=subprocess.DEVNULL,
    )


def _first_record(process: subprocess.Popen[bytes], metrics: Path, *, deadline: float) -> dict[str, float]:
    while process.poll() is None and time.perf_counter() < deadline:
        if metrics.exists() and (text := metrics.read_text()).endswith("\n"):
            return json.loads(text.splitlines()[0])
        time.sleep(0.005)
    process.kill()
    sys.exit(f"bin/train.py gave no epoch within {LIMIT_SECONDS:.0f} s; its error, if any, stands above")


def _wait(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process; its user and system seconds."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def measure(config: Path, rounds: int) -> dict[str, list[Start]]:
    """All starts, by name, in rounds."""
    starts: dict[str, list[Start]] = {}
    for _ in range(rounds):
        for command in COMMANDS:
            starts.setdefault(f"{command} --help", []).append(start_help(command))
        with tempfile.TemporaryDirectory() as cache:
            for name in ("train, empty cache", "train, full cache"):
                starts.setdefault(name, []).append(start_training(config, Path(cache)))
    return starts


def _table(starts: dict[str, list[Start]], rounds: int) -> Table:
    table = Table(title=f"seconds to start, {rounds} rounds")
    table.add_column("command")
    for column in ("wall, least", "median", "CPU, least", "median"):
        table.add_column(column, justify="right")
    for name, runs in starts.items():
        wall, cpu = [run.wall for run in runs], [run.cpu for run in runs]
        figures = (min(wall), statistics.median(wall), min(cpu), statistics.median(cpu))
        table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    return table


def _result(starts: dict[str, list[Start]]) -> dict[str, float]:
    keys = {"train, empty cache": "train_cold", "train, full cache": "train_warm"}
    result = {}
    for name, runs in starts.items():
        key = keys.get(name, name.replace(" --", "_"))
        result[f"{key}_s"] = round(min(run.wall for run in runs), 3)
        result[f"{key}_cpu_s"] = round(min(run.cpu for run in runs), 3)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/ml1m.py"), help="experiment to start")
    parser.add_argument("--rounds", type=int, default=5, help="starts of each command (default: %(default)s)")
    arguments = parser.parse_args()
    starts = measure(arguments.config, arguments.rounds)
    harness.console.print(_table(starts, arguments.rounds))
    harness.finish("startup", {"config": str(arguments.config), "rounds": arguments.rounds}, _result(starts))


if __name__ == "__main__":
    main()
