"""What the blocked likelihood costs: train steps that hold all logits beside steps that hold a block of them.

    python bench/item_block.py --shape ml-20m --blocks 2048 5027

All take turns in one process; ratios are medians over rounds. Memory is what the compiled steps need besides their
arguments, which are the same for all: the state, and the interactions.
"""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import harness
import jax
import jax.numpy as jnp
from train import make_config

from piavae_jax.config import PRECISIONS, ExperimentConfig
from piavae_jax.data.batches import epoch_order, order_capacity
from piavae_jax.data.prepared import PreparedDataset, load_prepared
from piavae_jax.training.session import build_session, start_state


class Steps(NamedTuple):
    """A compiled chunk of steps; each call goes on from the state of the last."""

    run: Callable[[], None]
    count: int
    """Steps of the chunk, no more than an epoch has."""
    temp_mb: float
    """Memory besides the arguments, in MB (10^6 bytes)."""


def make_steps(config: ExperimentConfig, dataset: PreparedDataset, count: int) -> Steps:
    """Compile a chunk of up to `count` steps of a config, on one device."""
    session = build_session(config, dataset)
    lengths, capacity = session.lengths, session.capacity
    order = epoch_order(lengths, batch_size=session.batch_size, capacity=capacity, key=jax.random.key(0))[:count]
    slots = order_capacity(lengths, order, capacity=capacity, shards=1)
    state, chunk = start_state(session, config), jnp.asarray(order)
    (run_steps,) = session.run_steps.values()
    steps = run_steps.lower(state, session.rows, chunk, slots).compile()

    def run() -> None:
        nonlocal state
        state, sums = steps(state, session.rows, chunk)
        jax.block_until_ready(sums)

    return Steps(run, len(order), steps.memory_analysis().temp_size_in_bytes / 1e6)


def benchmark(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure and return, by block size, 0 for all items at once."""
    config = make_config(arguments, pia=arguments.pia)
    config.training.devices = 1
    dataset = load_prepared(config.data.path)
    systems = {}
    for block in (0, *arguments.blocks):
        config.training.item_block = block
        systems[str(block)] = make_steps(config, dataset, arguments.steps)
    seconds = harness.interleave({block: system.run for block, system in systems.items()}, rounds=arguments.rounds)
    return {
        block: {
            "step_ms": 1e3 * float(seconds[block].min()) / system.count,
            "ratio": harness.ratio(seconds[block], seconds["0"]),
            "temp_mb": system.temp_mb,
        }
        for block, system in systems.items()
    }


def main() -> None:
    """Parse the flags, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=tuple(harness.HELDOUT_USERS), default="ml-20m")
    parser.add_argument("--blocks", type=int, nargs="+", default=[2048, 5027])
    parser.add_argument("--pia", action="store_true")
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of matrix products")
    parser.add_argument("--steps", type=int, default=4, help="steps a round")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    result = benchmark(arguments)
    rows = [
        (f"{int(block):,} items" if block != "0" else "all items", one["step_ms"], one["ratio"], one["temp_mb"])
        for block, one in result.items()
    ]
    title = f"train step, {arguments.shape}, batch {arguments.batch_size}, {jax.devices()[0].device_kind}"
    harness.table(title, ("logits held", "ms a step", "times all", "temporary MB"), rows)
    harness.finish("item_block", vars(arguments), result)


if __name__ == "__main__":
    main()
