"""One epoch: passes over every training user, in chunks of steps that run on the device without the host."""

from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

import jax
import numpy as np

from piavae_jax.data.batches import epoch_order, order_capacity, pad_to_shards
from piavae_jax.errors import UserError
from piavae_jax.training.session import Session
from piavae_jax.training.state import TrainState, order_key
from piavae_jax.training.step import StepSums


class NonFiniteLoss(UserError):
    """The loss of a step is not a number, or infinite: training has diverged."""


class EpochMeans(NamedTuple):
    """Means over the users of an epoch's passes, or of the part of them that has run."""

    users: int
    """User passes: each user counts once a pass."""
    loss: float
    """Of the epoch's first phase."""
    terms: dict[str, float]
    """Unweighted terms of the loss, by name; of the first phase that has them."""


OnChunk = Callable[[int, EpochMeans], None]
"""Called after each chunk with the steps of the epoch done so far and the means over them."""


def run_epoch(
    session: Session, state: TrainState, *, steps_per_dispatch: int, on_chunk: OnChunk
) -> tuple[TrainState, EpochMeans]:
    """Train on all users in each of the epoch's passes; the state given is donated.

    Raises:
      NonFiniteLoss: names the epoch and the step.
    """
    epoch = int(state.epoch) + 1
    history: dict[str, list[StepSums]] = {}  # by phase, in the order of their first pass
    done = 0
    for number, name in enumerate(session.recipe.passes(epoch)):
        begin = session.phase(name).begin
        if begin is not None:
            state = state._replace(params=begin(state.params))
        order = epoch_order(
            session.lengths,
            batch_size=session.batch_size,
            capacity=session.capacity,
            key=order_key(state, number),
        )
        capacity = order_capacity(session.lengths, order, capacity=session.capacity, shards=session.shards)
        order = pad_to_shards(order, session.shards)
        chunks = np.array_split(order, -(-len(order) // steps_per_dispatch))  # of two lengths at most
        with closing(session.feed(chunks, capacity)) as feed:
            for steps in feed:
                state, sums = session.run_steps[name](state, session.rows, steps, capacity)
                fetched = jax.device_get(sums)
                _check_finite(fetched, epoch=epoch, first_step=done + 1)
                history.setdefault(name, []).append(fetched)
                done += len(fetched.loss)
                on_chunk(done, _means(history))
    return state, _means(history)


def _check_finite(sums: StepSums, *, epoch: int, first_step: int) -> None:
    bad = np.flatnonzero(~np.isfinite(sums.loss))
    if len(bad):
        raise NonFiniteLoss(
            f"the loss is {sums.loss[bad[0]]} in epoch {epoch}, step {first_step + bad[0]} of the epoch; the last good "
            "checkpoint is kept: lower config.optimizer.learning_rate or config.pia.max_weight, in a new workdir"
        )


def _means(history: dict[str, list[StepSums]]) -> EpochMeans:
    phases = [_phase_means(sums) for sums in history.values()]
    terms: dict[str, float] = {}
    for phase in phases:
        terms = {**phase.terms, **terms}
    return EpochMeans(sum(phase.users for phase in phases), phases[0].loss, terms)


def _phase_means(history: list[StepSums]) -> EpochMeans:
    sums: Any = jax.tree.map(lambda *parts: np.concatenate(parts).sum(dtype=np.float64), *history)
    terms = {name: float(value / sums.users) for name, value in sums.terms._asdict().items()}
    return EpochMeans(int(sums.users), float(sums.loss / sums.users), terms)
