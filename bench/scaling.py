"""How a step's cost grows with the batch, the catalogue, the history and the number of devices; a plot of each.

    python bench/scaling.py                                  # all four sweeps
    python bench/scaling.py --sweep items --repeats 3        # one of batch, items, history, devices

Random users of a mean history, items equally likely; Multi-VAE + PIA with hidden layers of 64 and D = 32 for the sweep
over items, so that a million of them fit a small machine, and the paper's sizes for the others. The items sweep also
runs with `item_block`, which never holds the logits of all items. On a CPU, devices are simulated: they share its
cores, and the sweep shows what dividing the work costs, not what more hardware gives.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np
import optax

from piavae_jax.config import ExperimentConfig
from piavae_jax.data.batches import plan_capacity, to_device
from piavae_jax.data.csr import CSR, item_counts
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.recipes import build_recipe
from piavae_jax.training.session import make_mesh
from piavae_jax.training.state import init_state, make_weight_schedule
from piavae_jax.training.step import make_run_steps, make_train_step

PLOT = harness.ROOT / "bench" / "scaling.png"
STEPS = 3


class Point(NamedTuple):
    """One size of a step."""

    batch_size: int = 500
    items: int = 20_000
    history: int = 73
    hidden: int = 600
    latent_dim: int = 200
    item_block: int = 0
    devices: int = 1


class Sweep(NamedTuple):
    """Points along one axis, in one line of a plot or several."""

    axis: str
    """The field of `Point` that varies."""
    lines: dict[str, list[Point]]


_SMALL = Point(batch_size=100, hidden=64, latent_dim=32)
SWEEPS = {
    "batch": Sweep("batch_size", {"": [Point(batch_size=size) for size in (50, 125, 250, 500, 1_000, 2_000)]}),
    "items": Sweep(
        "items",
        {
            "all logits": [_SMALL._replace(items=10**4 * size) for size in (1, 3, 10, 30, 100)],
            "blocks of 8,192": [_SMALL._replace(items=10**4 * size, item_block=8_192) for size in (1, 3, 10, 30, 100)],
        },
    ),
    "history": Sweep("history", {"": [Point(history=length) for length in (10, 30, 73, 200, 600)]}),
    "devices": Sweep("devices", {"": [Point(devices=count) for count in (1, 2, 4)]}),
}


def random_rows(point: Point, *, seed: int) -> CSR:
    """Users for `STEPS` batches, with Poisson histories of distinct items."""
    generator = np.random.default_rng(seed)
    lengths = np.clip(generator.poisson(point.history, point.batch_size * STEPS), 1, point.items // 2)
    rows = [np.sort(generator.choice(point.items, size, replace=False)) for size in lengths]
    return CSR(np.concatenate([[0], np.cumsum(lengths)]), np.concatenate(rows).astype(np.int32))


def make_step(point: Point) -> Callable[[], None]:
    """Compile the steps of a point; a call runs `STEPS` of them."""
    config = ExperimentConfig()
    config.model.hidden, config.model.latent_dim = (point.hidden,), point.latent_dim
    config.training.item_block, config.training.devices = point.item_block, point.devices
    mesh = make_mesh(config)
    csr = random_rows(point, seed=0)
    recipe = build_recipe(config, Catalogue(item_counts(csr, point.items), csr.num_rows))
    (phase,) = recipe.phases
    step = make_train_step(phase, optax.schedules.constant_schedule(0.2), make_weight_schedule(config))
    run_steps = make_run_steps(step, mesh)
    capacity = plan_capacity(csr.lengths, batch_size=point.batch_size, shards=point.devices)
    rows, state = to_device(csr), init_state(recipe, config)
    order = jnp.arange(point.batch_size * STEPS, dtype=jnp.int32).reshape(STEPS, point.batch_size)

    def run() -> None:
        nonlocal state
        state, sums = run_steps(state, rows, order, capacity.shard if mesh else capacity.batch)
        jax.block_until_ready(sums)

    return run


def measure(point: Point, repeats: int) -> float:
    """Milliseconds of a step, the least of some repeats after two."""
    run = make_step(point)
    for _ in range(2):  # on several devices the state's placement changes with the first call
        run()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return 1e3 * min(seconds) / STEPS


def run_sweep(name: str, repeats: int) -> list[dict[str, Any]]:
    """Measure every point of a sweep."""
    sweep, found = SWEEPS[name], []
    for line, points in sweep.lines.items():
        for point in points:
            if point.devices > jax.device_count():
                continue
            size = getattr(point, sweep.axis)
            found.append({"sweep": name, "line": line, "size": size, "step_ms": measure(point, repeats)})
    return found


def run_apart(name: str, repeats: int) -> list[dict[str, Any]]:
    """Run a sweep in a process of its own: memory is given back and, on a CPU, four devices are simulated."""
    flags = os.environ.get("XLA_FLAGS", "")
    if name == "devices" and jax.default_backend() == "cpu":
        flags += " --xla_force_host_platform_device_count=4"
    command = [sys.executable, __file__, "--sweep", name, "--repeats", str(repeats), "--raw"]
    environment = os.environ | {"XLA_FLAGS": flags}
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(result.stdout.splitlines()[-1])


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """One panel a sweep, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    names = list(dict.fromkeys(point["sweep"] for point in found))
    figure, axes = plt.subplots(1, len(names), figsize=(3.6 * len(names), 3.2), layout="constrained", squeeze=False)
    titles = {"batch": "users a batch", "items": "items", "history": "mean history", "devices": "devices"}
    for axis, name in zip(axes[0], names, strict=True):
        for line in SWEEPS[name].lines:
            points = [point for point in found if point["sweep"] == name and point["line"] == line]
            axis.plot([p["size"] for p in points], [p["step_ms"] for p in points], "o-", label=line)
        sizes = [point["size"] for point in found if point["sweep"] == name]
        axis.set(xscale="log", yscale="log", xlabel=titles[name], xlim=(min(sizes) / 1.3, max(sizes) * 1.3))
        costs = [point["step_ms"] for point in found if point["sweep"] == name]
        axis.set_ylim(min(costs) / 1.6, max(costs) * 1.6)
        axis.set_xticks(sorted(set(sizes)), [_short(size) for size in sorted(set(sizes))])
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_minor_locator(NullLocator())
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if len(SWEEPS[name].lines) > 1:
            axis.legend(frameon=False)
    axes[0][0].set_ylabel("milliseconds a step")
    figure.savefig(path, dpi=140)
    plt.close(figure)


def _short(size: int) -> str:
    return f"{size // 1_000_000}M" if size >= 10**6 else f"{size // 1_000}k" if size >= 10**4 else str(size)


def main() -> None:
    """Parse the flags, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", choices=(*SWEEPS, "all"), default="all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plot", type=Path, default=PLOT)
    parser.add_argument("--raw", action="store_true", help="measure here and print JSON alone")
    arguments = parser.parse_args()
    if arguments.raw:
        print(json.dumps(run_sweep(arguments.sweep, arguments.repeats)))
        return
    names = list(SWEEPS) if arguments.sweep == "all" else [arguments.sweep]
    found = [point for name in names for point in run_apart(name, arguments.repeats)]
    rows = [(f"{p['sweep']} {p['line']}".strip(), f"{p['size']:,}", p["step_ms"]) for p in found]
    harness.table("train step, Multi-VAE + PIA", ("sweep", "size", "ms a step"), rows)
    draw(found, arguments.plot)
    harness.console.print(f"plot: {arguments.plot}", highlight=False)
    harness.finish("scaling", {"repeats": arguments.repeats}, {"points": found})


if __name__ == "__main__":
    main()
