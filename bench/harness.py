"""What the benchmarks share: interleaved timing, peak memory, a table, a line of JSON, a results file."""

import datetime
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from piavae_jax import xla_flags

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data"
RESULTS = ROOT / "bench" / "results.jsonl"
HELDOUT_USERS = {"tiny": 300, "ml-1m": 600, "ml-20m": 10_000, "netflix": 40_000, "msd": 50_000}
"""Users of validation, and again of test, by shape."""
console = Console()

xla_flags.launch_in_order(os.environ)  # as the commands do

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "polars", "torch", "pandas")


def interleave(systems: Mapping[str, Callable[[], Any]], *, rounds: int, warm_up: bool = True) -> dict[str, np.ndarray]:
    """Time each function once a round, for a number of rounds after one untimed call of each.

    `warm_up=False` leaves that call out.

    Taking turns lets a change in the machine's speed hit all of them alike, so that their ratio is worth more than
    any of the times.

    Returns:
      Seconds, float64[rounds] for each name.
    """
    for run in systems.values() if warm_up else ():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(rounds):
        for name, run in systems.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> float:
    """Median over the rounds of the ratio of two times of the same round."""
    return float(np.median(numerator / denominator))


def peak_rss_mb() -> float:
    """The largest resident memory of this process so far, in MB (10^6 bytes)."""
    return _megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def run_process(command: list[str]) -> float:
    """Run a command to its end, without its output, and return its largest resident memory in MB (10^6 bytes).

    Raises:
      CalledProcessError: if it fails.
    """
    launcher = [sys.executable, "-S", "-c", _LAUNCHER, *command]
    return _megabytes(int(subprocess.run(launcher, check=True, stdout=subprocess.PIPE).stdout))


# A new process counts the memory of the one that started it as its own; this one is small.
_LAUNCHER = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def _megabytes(largest: int) -> float:
    return largest * (1.0 if sys.platform == "darwin" else 1024.0) / 1e6


def synthetic_dataset(shape: str) -> Path:
    """The folder of a generated data set of a shape, prepared in a process of its own where it is not there yet."""
    folder = DATA / f"bench-{shape}"
    if not (folder / "manifest.json").is_file():
        console.print(f"preparing {folder}", highlight=False)
        flags = ["--shape", shape, "--seed", "0", "--heldout-users", str(HELDOUT_USERS[shape]), "--out", str(folder)]
        command = [sys.executable, str(ROOT / "bin" / "prepare.py"), "generate", *flags]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores, memory, XLA's flags, Python and library versions."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(pages / 1e9, 1),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def table(title: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print a table; numbers to three significant digits, to the right."""
    view = Table(title=title)
    for number, column in enumerate(columns):
        view.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        view.add_row(*(f"{value:,.3g}" if isinstance(value, float) and value < 100 else _whole(value) for value in row))
    console.print(view)


def _whole(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, float) else "" if value is None else str(value)


def finish(benchmark: str, settings: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Append the figures to `bench/results.jsonl`, with machine, versions and date, and print them as one JSON line."""
    record = {
        "benchmark": benchmark,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "settings": dict(settings),
        "result": dict(result),
        "machine": machine(),
    }
    with RESULTS.open("a") as file:
        file.write(json.dumps(record) + "\n")
    console.print(f"appended to {RESULTS}", highlight=False, soft_wrap=True)
    print(json.dumps(dict(result)))
