"""Full-ranking evaluation of a scorer on held-out users, compiled once and run every epoch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from piavae_jax.data.batches import DeviceRows, gather_batch, to_device
from piavae_jax.data.csr import CSR
from piavae_jax.data.prepared import HeldOut
from piavae_jax.errors import UserError
from piavae_jax.evaluation.metrics import DEFAULT_METRICS, Metric, parse_metrics
from piavae_jax.evaluation.ranking import exclude_seen, find_hits, top_k
from piavae_jax.evaluation.results import UserMetrics
from piavae_jax.types import SparseBatch

ScoreFn: TypeAlias = Callable[[Any, SparseBatch], jax.Array]
"""`score(params, batch) -> float[B, I]`, pure and jittable; the higher, the better. Parameters are an argument, so
that new ones reuse the compiled evaluation; seen items need no care, they are excluded afterwards."""

DATA_AXIS = "data"
"""The mesh axis that users are split over."""


class _Plan(NamedTuple):
    """What is fixed before the parameters are known; hashable, for `jit`."""

    k: int
    """Length of the ranked lists."""
    num_items: int
    input_capacity: int
    """N of the fold-in batches."""
    target_capacity: int
    """N of the held-out batches."""
    mesh: Mesh


class _Ranking(NamedTuple):
    """What is known of the ranked lists of one batch, or of [batches, B] users."""

    hits: jax.Array
    """bool[B, K], whether the item at each rank was held out."""
    valid: jax.Array
    """bool[B], False where a score was NaN or +inf."""


class Evaluator:
    """Ranks the whole catalogue for V held-out users and compares with what was held out.

    Users are encoded from their fold-in input, the items of that input are excluded, and the others are ranked (strong
    generalisation; Liang et al., WWW 2018). The rows are copied to the devices once. Values depend neither on the batch
    size nor on the number of devices, as far as the scores themselves do not.
    """

    def __init__(
        self,
        held_out: HeldOut,
        *,
        num_items: int,
        metrics: Sequence[str] = DEFAULT_METRICS,
        batch_size: int = 500,
        mesh: Mesh | None = None,
        user_ids: pl.Series | None = None,
    ) -> None:
        """Check the arguments and copy the rows to the devices.

        Args:
          held_out: V users.
          num_items: I.
          metrics: labels, such as "ndcg@100" or "recall@20".
          batch_size: B at most, users scored at a time by all devices together; memory grows with B times I.
          mesh: devices, with an axis `data` that users are split over; by default the first device alone.
          user_ids: V external ids, for the results; by default `held_out.users`.

        Raises:
          UserError: if an argument is not as above, or no user has fold-in input or held-out items.
        """
        _check(held_out, num_items=num_items, batch_size=batch_size, mesh=mesh, user_ids=user_ids)
        self._mesh = _first_device() if mesh is None else mesh
        self._held_out = held_out
        self._metrics = parse_metrics(metrics)
        self._user_ids = pl.Series(np.asarray(held_out.users, np.int64)) if user_ids is None else user_ids
        order = _consecutive_batches(len(held_out.users), batch_size=batch_size, shards=self._mesh.shape[DATA_AXIS])
        self._plan = _Plan(
            k=max(metric.k for metric in self._metrics),
            num_items=num_items,
            input_capacity=_largest_load(held_out.input, order),
            target_capacity=_largest_load(held_out.target, order),
            mesh=self._mesh,
        )
        self._order = jax.device_put(order, NamedSharding(self._mesh, PartitionSpec(DATA_AXIS)))
        self._rows = self._replicate((to_device(held_out.input), to_device(held_out.target)))

    def evaluate(self, score_fn: ScoreFn, params: Any) -> UserMetrics:
        """Evaluate one scorer.

        Args:
          score_fn: the scorer; pass the same object every time, a new one is compiled anew.
          params: its first argument, a tree of arrays; copied to every device of the mesh where it is not there yet.

        Raises:
          FloatingPointError: if a score is NaN or +inf, naming the first user it happened to.
          ValueError: if the scores are not [B, I].
        """
        batches = _rank(self._replicate(params), *self._rows, self._order, score_fn=score_fn, plan=self._plan)
        ranking = jax.tree.map(self._unbatch, batches)
        self._check_valid(ranking.valid)
        return UserMetrics(
            users=self._user_ids,
            num_input=self._held_out.input.lengths,
            num_target=self._held_out.target.lengths,
            values=self._measure(ranking.hits),
        )

    def _measure(self, hits: np.ndarray) -> dict[str, np.ndarray]:
        # All users at once, on one device: sums of floats in batches would depend on the size of the batch.
        num_targets = jnp.asarray(self._held_out.target.lengths, jnp.int32)
        with jax.debug_nans(False):  # a NaN stands for "no held-out item" here
            values = _values(jnp.asarray(hits), num_targets, metrics=self._metrics)
        return {label: np.asarray(column, np.float64) for label, column in values.items()}

    def _replicate(self, tree: Any) -> Any:
        return jax.device_put(tree, NamedSharding(self._mesh, PartitionSpec()))

    def _unbatch(self, batches: jax.Array) -> np.ndarray:
        return np.asarray(batches).reshape(-1, *batches.shape[2:])[: len(self._user_ids)]

    def _check_valid(self, valid: np.ndarray) -> None:
        if not valid.all():
            first = self._user_ids[int(np.argmin(valid))]
            raise FloatingPointError(
                f"scores must be finite or -inf, got NaN or +inf for {np.count_nonzero(~valid)} of {len(valid)} users, "
                f"the first being user {first}: the model has diverged, or its input broke it"
            )


@partial(jax.jit, static_argnames=("score_fn", "plan"))
def _rank(
    params: Any, inputs: DeviceRows, targets: DeviceRows, order: jax.Array, *, score_fn: ScoreFn, plan: _Plan
) -> _Ranking:
    def rank_shard(params: Any, inputs: DeviceRows, targets: DeviceRows, order: jax.Array) -> _Ranking:
        def rank_users(users: jax.Array) -> _Ranking:
            shown = gather_batch(inputs, users, capacity=plan.input_capacity)
            held_out = gather_batch(targets, users, capacity=plan.target_capacity)
            return _rank_batch(score_fn(params, shown), shown, held_out, plan)

        return jax.lax.map(rank_users, order)

    replicated, split = PartitionSpec(), PartitionSpec(DATA_AXIS)
    return jax.shard_map(
        rank_shard,
        mesh=plan.mesh,
        in_specs=(replicated, replicated, replicated, split),
        out_specs=split,
        check_vma=False,  # shards never communicate
    )(params, inputs, targets, order)


def _rank_batch(scores: jax.Array, shown: SparseBatch, held_out: SparseBatch, plan: _Plan) -> _Ranking:
    expected = (shown.lengths.shape[0], plan.num_items)
    if scores.shape != expected:
        raise ValueError(
            f"scores must have the shape [B, I] = {expected}, got {scores.shape}: check the item vocabulary"
        )
    scores = exclude_seen(scores, shown)
    # A maximum propagates NaN. That of the scores before the exclusion would keep it from being done in place.
    valid = jnp.max(scores, axis=-1) < jnp.inf
    return _Ranking(find_hits(top_k(scores, plan.k).items, held_out), valid)


@partial(jax.jit, static_argnames="metrics")
def _values(hits: jax.Array, num_targets: jax.Array, *, metrics: tuple[Metric, ...]) -> dict[str, jax.Array]:
    return {metric.label: metric(hits, num_targets) for metric in metrics}


def _first_device() -> Mesh:
    return jax.make_mesh((1,), (DATA_AXIS,), devices=jax.local_devices()[:1], axis_types=(AxisType.Auto,))


def _consecutive_batches(num_users: int, *, batch_size: int, shards: int) -> np.ndarray:
    """int32[batches, B / shards], user rows in order; -1 pads. Each shard takes an equal, contiguous run of batches."""
    steps = -(-num_users // batch_size)
    batches = steps * shards
    rows = -(-num_users // batches)  # as few as fill the steps: 600 users in batches of 500 make two of 300
    padded = np.pad(np.arange(num_users, dtype=np.int32), (0, batches * rows - num_users), constant_values=-1)
    return padded.reshape(batches, rows)


def _largest_load(rows: CSR, order: np.ndarray) -> int:
    """N: the most interactions in any batch, at least one slot."""
    loads = np.where(order >= 0, rows.lengths[order], 0).sum(axis=-1)
    return max(int(loads.max()), 1)


def _check(
    held_out: HeldOut, *, num_items: int, batch_size: int, mesh: Mesh | None, user_ids: pl.Series | None
) -> None:
    shown, hidden = held_out.input.nnz, held_out.target.nnz
    if shown == 0 or hidden == 0:
        raise UserError(
            f"evaluation needs fold-in and held-out interactions, got {shown} and {hidden}: split each history in two"
        )
    largest = max(int(rows.indices.max(initial=-1)) for rows in (held_out.input, held_out.target))
    if largest >= num_items:
        raise UserError(
            f"items must be below num_items, got item {largest} with num_items {num_items}: pass the I of the data"
        )
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1, got {batch_size}: pass e.g. 500")
    if mesh is not None and DATA_AXIS not in mesh.axis_names:
        raise UserError(
            f'mesh must have an axis "{DATA_AXIS}", got {mesh.axis_names}: rename the axis that splits users'
        )
    if user_ids is not None and len(user_ids) != len(held_out.users):
        raise UserError(f"user_ids must have one id a user, got {len(user_ids)} for {len(held_out.users)} users")
