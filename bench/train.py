"""How fast a train step is, beside PyTorch and beside the least that the mathematics costs.

    python bench/train.py --shape ml-20m            # also netflix, msd, ml-1m; --pia; --batch-size 24576; --no-torch
    python bench/train.py --precision tf32          # on a GPU; also bfloat16

Ours is the train step of `bin/train.py` on generated data of that shape, in chunks that run on the device. The
reference is a plain PyTorch Multi-VAE on dense rows (`torch_multvae.py`), once with every batch made dense on the host
and once with two that are on the device already, over and over; the floor is the decoder's three matrix products and an
Adam update of all parameters, and nothing else. Steps whose batches are streamed from disk run as well. All take turns
in one process; ratios are medians over rounds.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse

from piavae_jax.config import PRECISIONS, ExperimentConfig, validate
from piavae_jax.data.batches import epoch_order, order_capacity, pad_to_shards
from piavae_jax.data.prepared import PreparedDataset, load_prepared
from piavae_jax.linear import product
from piavae_jax.training.session import build_session, start_state


class Trainer(NamedTuple):
    """A compiled chunk of our steps; each call goes on from the state of the last."""

    run: Callable[[], None]
    compile_s: float
    batches: list[np.ndarray]
    """The users of each batch, without padding."""


def make_config(arguments: argparse.Namespace, *, pia: bool, interactions: str = "device") -> ExperimentConfig:
    """The paper's settings at the batch size asked for."""
    config = ExperimentConfig(name="bench")
    config.data.path = str(harness.synthetic_dataset(arguments.shape))
    config.pia.enabled = pia
    config.training.interactions = interactions
    config.training.batch_size = arguments.batch_size
    config.model.precision = arguments.precision
    return validate(config)


def make_trainer(config: ExperimentConfig, dataset: PreparedDataset, steps: int) -> Trainer:
    """Compile a chunk of steps, and time the compilation."""
    session = build_session(config, dataset)
    lengths, capacity = session.lengths, session.capacity
    order = epoch_order(lengths, batch_size=session.batch_size, capacity=capacity, key=jax.random.key(0))[:steps]
    slots = order_capacity(lengths, order, capacity=capacity, shards=session.shards)
    # Where streamed, one is read while the other runs.
    chunks = np.array_split(pad_to_shards(order, session.shards), min(2, len(order)))
    state = start_state(session, config)
    with closing(session.feed(chunks[:1], slots)) as feed:
        first = next(feed)
    (run_steps,) = session.run_steps.values()
    started = time.perf_counter()
    run_steps.lower(state, session.rows, first, slots).compile()
    compile_s = time.perf_counter() - started

    def run() -> None:
        nonlocal state
        with closing(session.feed(chunks, slots)) as feed:
            for chunk in feed:
                state, sums = run_steps(state, session.rows, chunk, slots)
                jax.block_until_ready(sums)

    return Trainer(run, compile_s, [users[users >= 0] for users in order])


def make_floor(config: ExperimentConfig, num_items: int, steps: int) -> Callable[[], None]:
    """The decoder's three products and Adam over all parameters, in a loop on the device."""
    size, hidden, latent = config.training.batch_size, config.model.hidden[0], config.model.latent_dim
    draw = jax.random.split(jax.random.key(1), 3)
    params = {
        "decoder": 0.01 * jax.random.normal(draw[0], (hidden, num_items)),
        "encoder": 0.01 * jax.random.normal(draw[1], (num_items, hidden)),
        "anchors": jnp.zeros((num_items if config.pia.enabled else 1, latent)),
    }
    features = jax.random.normal(draw[2], (size, hidden))
    gradients = jax.tree.map(lambda leaf: 0.01 * leaf, params)
    optimizer, multiply = optax.adam(1e-3), partial(product, precision=config.model.precision)
    carry = (params, optimizer.init(params), features)

    def step(carry: Any, _: None) -> tuple[Any, None]:
        params, opt_state, features = carry
        logits = multiply(features, params["decoder"])
        to_features = multiply(logits, params["decoder"].T)
        to_decoder = multiply(jax.lax.optimization_barrier(features.T), logits)  # as piavae_jax/linear.py does
        updates, opt_state = optimizer.update(gradients | {"decoder": to_decoder}, opt_state)
        return (optax.apply_updates(params, updates), opt_state, features + 1e-6 * to_features), None

    loop = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=steps)[0], donate_argnums=0)

    def run() -> None:
        nonlocal carry
        carry = jax.block_until_ready(loop(carry))

    return run


def make_torch(
    config: ExperimentConfig, dataset: PreparedDataset, batches: list[np.ndarray]
) -> dict[str, Callable[[], float]]:
    """The PyTorch reference on the same batches; nothing, said aloud, where PyTorch is not installed."""
    try:
        from torch_multvae import TorchTrainer
    except ImportError:
        harness.console.print("PyTorch is not installed: no reference (pip install torch)")
        return {}
    train = dataset.train
    values = np.ones(train.nnz, np.float32)
    shape = (len(train.lengths), dataset.num_items)
    rows = scipy.sparse.csr_matrix((values, np.asarray(train.indices), np.asarray(train.indptr)), shape=shape)
    trainer = TorchTrainer(
        rows,
        pia=config.pia.enabled,
        hidden=config.model.hidden[0],
        latent_dim=config.model.latent_dim,
        precision=config.model.precision,
    )
    loaded = trainer.load(batches[:2])  # all would be 16 GB at batches of 24,576 users
    return {
        "torch": lambda: trainer.run(batches),
        "torch_loaded": lambda: trainer.run_loaded(loaded, steps=len(batches)),
    }


def benchmark(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the figures."""
    config = make_config(arguments, pia=arguments.pia)
    dataset = load_prepared(config.data.path)
    ours = make_trainer(config, dataset, arguments.steps)
    ours.run()
    peak_rss_mb = harness.peak_rss_mb()
    other = make_trainer(make_config(arguments, pia=not arguments.pia), dataset, arguments.steps)
    streamed = make_trainer(make_config(arguments, pia=arguments.pia, interactions="stream"), dataset, arguments.steps)
    systems: dict[str, Callable[[], Any]] = {
        "ours": ours.run,
        "streamed": streamed.run,
        "other": other.run,
        "floor": make_floor(config, dataset.num_items, len(ours.batches)),
    }
    if arguments.torch:
        systems |= make_torch(config, dataset, ours.batches)
    seconds = harness.interleave(systems, rounds=arguments.rounds)
    with_pia, without = ("ours", "other") if arguments.pia else ("other", "ours")
    steps = len(ours.batches)
    users = sum(len(batch) for batch in ours.batches)
    per_step = {name: 1e3 * float(np.median(values)) / steps for name, values in seconds.items()}
    return {
        "users_per_s": users / float(np.median(seconds["ours"])),
        "step_ms": per_step["ours"],
        "torch_step_ms": per_step.get("torch"),
        "torch_loaded_step_ms": per_step.get("torch_loaded"),
        "floor_ms": per_step["floor"],
        **{
            f"ratio_{name}": harness.ratio(seconds[name], seconds["ours"]) if name in seconds else None
            for name in ("torch", "torch_loaded")
        },
        "ratio_floor": harness.ratio(seconds["ours"], seconds["floor"]),
        "pia_overhead": harness.ratio(seconds[with_pia], seconds[without]) - 1.0,
        "stream_overhead": harness.ratio(seconds["streamed"], seconds["ours"]) - 1.0,
        "peak_rss_mb": peak_rss_mb,
        "compile_s": ours.compile_s,
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }


def main() -> None:
    """Parse the flags, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=tuple(harness.HELDOUT_USERS), default="ml-20m")
    parser.add_argument("--model", choices=("multvae",), default="multvae")
    parser.add_argument("--pia", action="store_true", help="the headline is Multi-VAE + PIA")
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of matrix products, of all systems")
    parser.add_argument("--steps", type=int, default=8, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    result = benchmark(arguments)
    rows = [
        ("PyTorch, dense rows", result["torch_step_ms"], result["ratio_torch"]),
        ("PyTorch, rows on the device", result["torch_loaded_step_ms"], result["ratio_torch_loaded"]),
        (f"piavae_jax{' + PIA' if arguments.pia else ''}", result["step_ms"], 1.0),
        ("floor", result["floor_ms"], 1.0 / result["ratio_floor"]),
    ]
    title = f"train step, {arguments.shape}, batch {arguments.batch_size}, {arguments.precision}, {result['device']}"
    harness.table(title, ("", "ms a step", "times ours"), [row for row in rows if row[1] is not None])
    harness.finish("train", vars(arguments), result)


if __name__ == "__main__":
    main()
