"""Whether an artefact scores as the run does."""

import jax
import numpy as np

from piavae_jax.data.batches import PackedBatch, pack_batches, unpack_batch
from piavae_jax.data.csr import CSR, from_pairs
from piavae_jax.errors import UserError
from piavae_jax.serving.export.formats import HostScore
from piavae_jax.serving.export.program import Program

TOLERANCE = 1e-5
"""Largest difference of two scores, in units of the largest score, or of 1 where that is larger."""

_USERS = 64
_MAX_HISTORY = 200


def check_scores(program: Program, score: HostScore, *, name: str) -> float:
    """Compare an artefact with the run itself, on drawn histories, an empty one, one of one item and one of all.

    Returns:
      The largest difference, in the units of `TOLERANCE`.

    Raises:
      UserError: it is more than `TOLERANCE`, or a score is not finite.
    """
    histories = draw_histories(program.run.vocabulary["train_users"].to_numpy())
    expected = _reference_scores(program, histories)
    rows = to_rows(histories, program.run.vocabulary.height)
    # Of two batch sizes, for an artefact that had but one.
    actual = np.concatenate([score(rows[:1]), score(rows[1:])])
    difference = np.abs(actual - expected).max() / max(1.0, np.abs(expected).max())
    if not difference <= TOLERANCE:  # NaN is not
        raise UserError(
            f"{name} must score as {program.run.path} does, within {TOLERANCE:g}, "
            f"got a difference of {difference:.2g}: export another format, and report this"
        )
    return float(difference)


def draw_histories(train_users: np.ndarray) -> CSR:
    """`_USERS` users' items by their popularity, int[I]; histories from one item to many, the same at each call."""
    generator = np.random.default_rng(0)
    num_items = len(train_users)
    longest = min(_MAX_HISTORY, num_items)
    lengths = np.exp(generator.uniform(0, np.log(longest + 1), _USERS)).astype(np.int64).clip(1, longest)
    lengths[:3] = 0, 1, num_items
    weights = train_users + 1.0
    items = [generator.choice(num_items, size, replace=False, p=weights / weights.sum()) for size in lengths]
    return from_pairs(np.repeat(np.arange(_USERS), lengths), np.concatenate(items), num_rows=_USERS)


def to_rows(histories: CSR, num_items: int) -> np.ndarray:
    """float32[U, I], 1 where a user has an item."""
    rows = np.zeros((histories.num_rows, num_items), np.float32)
    rows[np.repeat(np.arange(histories.num_rows), histories.lengths), histories.indices] = 1.0
    return rows


def _reference_scores(program: Program, histories: CSR) -> np.ndarray:
    users = np.arange(histories.num_rows, dtype=np.int32)
    packed = PackedBatch(*pack_batches(histories, users, capacity=histories.nnz))  # type: ignore[arg-type]
    score = jax.jit(lambda params, packed: program.reference(params, unpack_batch(packed)))
    return np.asarray(score(program.params, packed))
