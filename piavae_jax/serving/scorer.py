"""Scores and ranked lists of many users, in batches of few shapes so that little is compiled."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax.data.batches import PackedBatch, pack_batches, unpack_batch
from piavae_jax.data.csr import CSR
from piavae_jax.errors import UserError
from piavae_jax.evaluation import ScoreFn, exclude_seen, top_k
from piavae_jax.serving.ranking import RankedRows, rank_rows

BATCH_SIZES = (8, 64, 512)
"""Users B of a batch: the smallest that holds all, else the largest again and again."""

_MAX_SCORES = 2**26  # B times I, beyond the smallest size: 256 MB
_MIN_ROW = 8  # slots a user, at least


class Batch(NamedTuple):
    """Users scored together, on the host."""

    users: slice
    """Which of the rows."""
    packed: PackedBatch
    """NumPy arrays inside: B rows, N slots."""


class Restriction(NamedTuple):
    """What may not be recommended."""

    exclude_seen: bool
    """Whether the items of a user's own history are left out."""
    penalty: np.ndarray | None
    """float32[I], -inf for items that nobody is recommended, else 0; None where there are none."""


def batches(rows: CSR, num_items: int) -> Iterator[Batch]:
    """Cut rows into batches of one of `BATCH_SIZES`, each padded to a power of two of slots.

    Larger sizes are left out where their scores, B times I, would be many.
    """
    sizes = [size for size in BATCH_SIZES if size == BATCH_SIZES[0] or size * num_items <= _MAX_SCORES]
    size = next((size for size in sizes if size >= rows.num_rows), sizes[-1])
    for start in range(0, rows.num_rows, size):
        users = slice(start, min(start + size, rows.num_rows))
        numbers = np.full(size, -1, np.int32)
        numbers[: users.stop - start] = np.arange(start, users.stop, dtype=np.int32)
        load = int(rows.indptr[users.stop] - rows.indptr[start])
        capacity = max(_MIN_ROW * size, 1 << (load - 1).bit_length() if load else 0)
        yield Batch(users, PackedBatch(*pack_batches(rows, numbers, capacity=capacity)))  # type: ignore[arg-type]


class Scorer:
    """A model that scores and ranks all I items for batches of users.

    On a GPU the lists are ranked there; on a CPU by NumPy (`serving.ranking`). Both are exact and break ties alike.
    """

    def __init__(self, score: ScoreFn, params: Any, *, num_items: int, on_host: bool | None = None) -> None:
        """Place the parameters on the default device; `on_host` says where to rank, by default as above."""
        self.score, self._params, self._num_items = score, jax.device_put(params), num_items
        self._on_host = jax.default_backend() == "cpu" if on_host is None else on_host

    def batches(self, rows: CSR) -> Iterator[Batch]:
        """The rows in batches that the other methods take."""
        return batches(rows, self._num_items)

    def start(self, batch: Batch, k: int, restriction: Restriction) -> Any:
        """Hand a batch to the device; returns before it is done, what `finish` needs."""
        if self._on_host:
            return _scores(self._params, batch.packed, score_fn=self.score)
        penalty = restriction.penalty
        return _ranked(
            self._params,
            batch.packed,
            None if penalty is None else jnp.asarray(penalty),
            score_fn=self.score,
            k=1 << (k - 1).bit_length(),  # lists of a few lengths; the device cuts them at I
            seen=not restriction.exclude_seen,
        )

    def finish(self, started: Any, batch: Batch, k: int, restriction: Restriction) -> RankedRows:
        """Wait for a batch and give the lists of its users, min(k, I) long.

        Raises:
          UserError: a score is NaN or infinite.
        """
        count = batch.users.stop - batch.users.start
        if not self._on_host:
            (items, scores), finite = jax.device_get(started)
            _require_finite(bool(finite))
            width = min(k, items.shape[1])
            return RankedRows(items[:count, :width], scores[:count, :width])
        scores = np.asarray(started)[:count]
        with np.errstate(invalid="ignore"):
            _require_finite(bool(np.isfinite(scores.sum())))
        seen = _interactions(batch.packed) if restriction.exclude_seen else None
        return rank_rows(scores, k, excluded=seen, penalty=restriction.penalty)

    def rank(self, rows: CSR, k: int, restriction: Restriction) -> Iterator[tuple[slice, RankedRows]]:
        """The lists of all rows, batch by batch."""
        for batch in self.batches(rows):
            yield batch.users, self.finish(self.start(batch, k, restriction), batch, k, restriction)

    def scores(self, rows: CSR) -> np.ndarray:
        """float32[U, I], the scores of a few users' rows, on the host.

        Raises:
          UserError: a score is NaN or infinite.
        """
        parts = [np.empty((0, self._num_items), np.float32)]
        for batch in self.batches(rows):
            values = _scores(self._params, batch.packed, score_fn=self.score)
            parts.append(np.asarray(values)[: batch.users.stop - batch.users.start])
        scores = np.concatenate(parts) if len(parts) > 2 else parts[-1]
        _require_finite(bool(np.isfinite(scores.sum(dtype=np.float64))))
        return scores

    def log_probabilities(self, rows: CSR, item: int) -> np.ndarray:
        """float32[U], the log-softmax of one item's score among all items' scores."""
        parts = [np.empty(0, np.float32)]
        for batch in self.batches(rows):
            values = _log_probability(self._params, batch.packed, jnp.int32(item), score_fn=self.score)
            parts.append(np.asarray(values)[: batch.users.stop - batch.users.start])
        return np.concatenate(parts)


def _interactions(packed: PackedBatch) -> tuple[np.ndarray, np.ndarray]:
    """Rows and items of a packed batch, without padding."""
    lengths = np.asarray(packed.lengths)
    return np.repeat(np.arange(len(lengths)), lengths), np.asarray(packed.items)[: lengths.sum()]


def _require_finite(finite: bool) -> None:
    if not finite:
        raise UserError("the model's scores must be finite, got NaN or infinity: it has diverged, train it again")


@partial(jax.jit, static_argnames="score_fn")
def _scores(params: Any, packed: PackedBatch, *, score_fn: ScoreFn) -> jax.Array:
    return score_fn(params, unpack_batch(packed))


@partial(jax.jit, static_argnames=("score_fn", "k", "seen"))
def _ranked(
    params: Any, packed: PackedBatch, penalty: jax.Array | None, *, score_fn: ScoreFn, k: int, seen: bool
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    batch = unpack_batch(packed)
    scores = score_fn(params, batch)
    finite = jnp.isfinite(jnp.sum(scores))
    if penalty is not None:
        scores += penalty[None, :]
    ranked = top_k(scores if seen else exclude_seen(scores, batch), k)
    return (ranked.items, ranked.scores), finite


@partial(jax.jit, static_argnames="score_fn")
def _log_probability(params: Any, packed: PackedBatch, item: jax.Array, *, score_fn: ScoreFn) -> jax.Array:
    return jax.nn.log_softmax(score_fn(params, unpack_batch(packed)), axis=-1)[:, item]
