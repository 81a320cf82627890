"""What a training step of each model costs, for each user and parameter, beside Multi-VAE's.

    python bench/model_cost.py --shape ml-1m            # also --models recvae,warp; --batch-size; --profile recvae

Steps of `bin/train.py` on generated data of that shape, on the device, every phase of every model in turn in one
process; ratios to Multi-VAE are medians over rounds. A model's row is the mean over the passes of an epoch: RecVAE
moves its encoder in three of four. Users of all models are batched alike. `--profile` lists where the time of one model
goes, by the operations that XLA runs.
"""

import argparse
import contextlib
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import harness
import jax
import numpy as np

from piavae_jax.benchmark.sized_config import sized_config
from piavae_jax.config import validate
from piavae_jax.data.batches import epoch_order, order_capacity, pad_to_shards
from piavae_jax.data.prepared import PreparedDataset, load_prepared
from piavae_jax.presets import PRESETS
from piavae_jax.training.session import build_session, start_state

BASE = "multvae"


class Phases(NamedTuple):
    """A model's chunks of steps, by phase; each call goes on from the state of the last."""

    run: dict[str, Callable[[], None]]
    weights: dict[str, float]
    """Share of each phase in the passes of all epochs."""
    steps: int
    """Of a chunk, no more than an epoch has."""
    parameters: int
    """All that are trained, anchors and critics too."""


def make_phases(name: str, dataset: PreparedDataset, *, batch_size: int, steps: int) -> Phases:
    """Build the phases of a preset at the data set's size."""
    config = sized_config(dataset, name)
    config.training.batch_size = batch_size
    session = build_session(validate(config), dataset)
    order = epoch_order(
        session.lengths, batch_size=session.batch_size, capacity=session.capacity, key=jax.random.key(0)
    )[:steps]
    slots = order_capacity(session.lengths, order, capacity=session.capacity, shards=session.shards)
    chunks = [pad_to_shards(order, session.shards)]
    state = start_state(session, config)
    passes = Counter(phase for epoch in range(1, config.training.epochs + 1) for phase in session.recipe.passes(epoch))

    def make_run(phase: str) -> Callable[[], None]:
        def run() -> None:
            nonlocal state
            with closing(session.feed(chunks, slots)) as feed:
                for chunk in feed:
                    state, sums = session.run_steps[phase](state, session.rows, chunk, slots)
                    jax.block_until_ready(sums)

        return run

    trained = {entry for phase in session.recipe.phases for entry in phase.trained}
    parameters = sum(leaf.size for entry in trained for leaf in jax.tree.leaves(state.params[entry]))
    shares = {phase: count / passes.total() for phase, count in passes.items()}
    return Phases({phase: make_run(phase) for phase in shares}, shares, len(order), parameters)


def benchmark(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the figures of each model."""
    dataset = load_prepared(harness.synthetic_dataset(arguments.shape))
    names = [BASE, *(name for name in arguments.models.split(",") if name != BASE)]
    models = {
        name: make_phases(name, dataset, batch_size=arguments.batch_size, steps=arguments.steps) for name in names
    }
    systems = {(name, phase): run for name, model in models.items() for phase, run in model.run.items()}
    seconds = harness.interleave({"/".join(key): run for key, run in systems.items()}, rounds=arguments.rounds)
    of_model = {
        name: sum(share * seconds[f"{name}/{phase}"] for phase, share in model.weights.items())
        for name, model in models.items()
    }
    if arguments.profile:
        show_profile(models[arguments.profile])
    base = models[BASE].parameters
    return {
        name: {
            "step_ms": 1e3 * float(np.median(of_model[name])) / model.steps,
            "parameters": model.parameters,
            "ratio": harness.ratio(of_model[name], of_model[BASE]),
            "ratio_per_parameter": harness.ratio(of_model[name], of_model[BASE]) * base / model.parameters,
        }
        for name, model in models.items()
    }


def show_profile(model: Phases) -> None:
    """Print the operations that take most of a chunk's time, phase by phase."""
    for phase, run in model.run.items():
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                run()
            milliseconds: dict[str, float] = defaultdict(float)
            for operation, duration in _operations(Path(folder)):
                milliseconds[operation] += duration
        top = sorted(milliseconds.items(), key=lambda item: -item[1])[:12]
        harness.table(f"phase {phase}: thread-milliseconds", ("operation", "ms"), list(top))


def _operations(folder: Path) -> Iterator[tuple[str, float]]:
    """Names and milliseconds of what XLA ran."""
    (path,) = folder.rglob("*.xplane.pb")
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for event in line.events:
                with contextlib.suppress(StopIteration):
                    next(value for key, value in event.stats if key == "hlo_op")
                    yield event.name.rstrip("0123456789."), event.duration_ns / 1e6


def main() -> None:
    """Parse the flags, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=tuple(harness.HELDOUT_USERS), default="ml-1m")
    parser.add_argument("--models", default=",".join(PRESETS), help="presets (default: all)")
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--steps", type=int, default=4, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", default="", help="a model whose operations to list")
    arguments = parser.parse_args()
    if arguments.profile and arguments.profile not in arguments.models.split(","):
        parser.error(f"--profile must be one of --models ({arguments.models}), got {arguments.profile}")
    result = benchmark(arguments)
    rows = [
        (name, figures["step_ms"], f"{figures['parameters']:,}", figures["ratio"], figures["ratio_per_parameter"])
        for name, figures in result.items()
    ]
    columns = ("", "ms a step", "parameters", "times Multi-VAE", "the same a parameter")
    harness.table(f"train step, {arguments.shape}, batch {arguments.batch_size}", columns, rows)
    harness.finish("model_cost", vars(arguments), result)


if __name__ == "__main__":
    main()
