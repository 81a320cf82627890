"""Full-ranking evaluation of a scorer on held-out users, compiled once and run every epoch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from piavae_jax import distributed
from piavae_jax.data.batches import DeviceRows, gather_batch, to_device
from piavae_jax.data.csr import CSR
from piavae_jax.data.prepared import HeldOut
from piavae_jax.errors import UserError
from piavae_jax.evaluation.metrics import DEFAULT_METRICS, Metric, parse_metrics
from piavae_jax.evaluation.ranking import exclude_seen, find_hits, top_k
from piavae_jax.evaluation.results import UserMetrics
from piavae_jax.evaluation.sharded_ranking import exclude_seen_or_padding, top_k_over_shards
from piavae_jax.types import SparseBatch

ScoreFn: TypeAlias = Callable[[Any, SparseBatch], jax.Array]
"""`score(params, batch) -> float[B, I]`, pure and jittable; the higher, the better. Parameters are an argument, so
that new ones reuse the compiled evaluation; seen items need no care, they are excluded afterwards."""


class MixedScore(Protocol):
    """A scorer of many mixtures of the same parts; pure, jittable and hashable."""

    def parts(self, params: Any, batch: SparseBatch) -> Any:
        """What is mixed: a tree of arrays."""

    def mix(self, parts: Any, mixture: Any) -> jax.Array:
        """The scores of one mixture, float[B, I]."""


DATA_AXIS = "data"
"""The mesh axis that users are split over."""

ITEM_AXIS = "items"
"""The mesh axis that items are split over."""


_MIXTURES = 16
"""Room for mixtures is made in multiples of this, so that other numbers of them find what is compiled."""


class _Plan(NamedTuple):
    """What is fixed before the values of the parameters are known; hashable, for `jit`."""

    k: int
    """Length of the ranked lists."""
    num_items: int
    input_capacity: int
    """N of the fold-in batches."""
    target_capacity: int
    """N of the held-out batches."""
    mesh: Mesh
    placement: tuple[PartitionSpec, ...] = ()
    """Of the arrays of the parameters."""

    @property
    def own_items(self) -> int:
        """L, the items of each device where they are split."""
        return -(-self.num_items // self.mesh.shape.get(ITEM_AXIS, 1))


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
    size nor on the number of devices or processes, as far as the scores themselves do not. All processes of a job
    evaluate together, and each gets the values of all users.
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
          mesh: devices, with an axis `data` that users are split over and, for scorers whose parameters are, an axis
            `items`; by default the first device alone.
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
        split = NamedSharding(self._mesh, PartitionSpec(DATA_AXIS))
        self._order = jax.make_array_from_callback(order.shape, split, lambda index: order[index])
        self._rows = distributed.replicate((to_device(held_out.input), to_device(held_out.target)), self._mesh)

    @property
    def mesh(self) -> Mesh:
        """The devices that users, and parameters that are split over items, are spread over."""
        return self._mesh

    def evaluate(self, score_fn: ScoreFn, params: Any) -> UserMetrics:
        """Evaluate one scorer.

        Args:
          score_fn: the scorer; pass the same object every time, a new one is compiled anew.
          params: its first argument, a tree of arrays; copied to every device of the mesh where it is not there yet.
            Arrays that are split over the mesh's axis `items` stay so, each device having L = ceil(I / devices) items
            of them. The scorer then runs under the axis, sees this device's shard of them and gives its `[B, L]`.

        Raises:
          FloatingPointError: if a score is NaN or +inf, naming the first user it happened to.
          ValueError: if the scores are not [B, I], or [B, L] of parameters that are split.
        """
        params, plan = self._place(params)
        batches = _rank(params, *self._rows, self._order, score_fn=score_fn, plan=plan)
        return self._collect(batches)

    def evaluate_mixtures(self, score: MixedScore, params: Any, mixtures: Any) -> list[UserMetrics]:
        """Evaluate C mixtures of the same parts, which are computed once for each batch.

        Args:
          score: makes the parts and mixes them; what is equal to it finds what is compiled.
          params: for the parts, none of them split over items.
          mixtures: C of them, stacked: a tree of arrays that have a leading axis of C.

        Returns:
          C results, each as `evaluate` gives it.

        Raises:
          FloatingPointError: as `evaluate`.
          ValueError: if the scores are not [B, I].
        """
        params, plan = self._place(params)
        count = len(jax.tree.leaves(mixtures)[0])
        room = -count % _MIXTURES
        padded = jax.tree.map(lambda column: np.pad(column, [(0, room), *[(0, 0)] * (column.ndim - 1)]), mixtures)
        padded, counted = distributed.replicate((padded, np.int32(count)), self._mesh)
        batches = _rank_mixtures(params, padded, counted, *self._rows, self._order, score=score, plan=plan)
        return [self._collect(_Ranking(batches.hits[:, number], batches.valid[:, number])) for number in range(count)]

    def _place(self, params: Any) -> tuple[Any, _Plan]:
        leaves, structure = jax.tree.flatten(params)
        plan = self._plan._replace(placement=tuple(_placement(leaf, self._mesh) for leaf in leaves))
        placed = [
            leaf if ITEM_AXIS in spec else distributed.replicate(leaf, self._mesh)
            for leaf, spec in zip(leaves, plan.placement, strict=True)
        ]
        return jax.tree.unflatten(structure, placed), plan

    def _collect(self, batches: _Ranking) -> UserMetrics:
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

    def _unbatch(self, batches: jax.Array) -> np.ndarray:
        whole = multihost_utils.process_allgather(batches, tiled=True)
        return whole.reshape(-1, *batches.shape[2:])[: len(self._user_ids)]

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
    def rank(params: Any, shown: SparseBatch, held_out: SparseBatch) -> _Ranking:
        return _rank_batch(score_fn(params, shown), shown, held_out, plan)

    placement = jax.tree.unflatten(jax.tree.structure(params), plan.placement)
    return _map_batches(rank, params, placement, inputs, targets, order, plan)


@partial(jax.jit, static_argnames=("score", "plan"))
def _rank_mixtures(
    params: Any,
    mixtures: Any,
    count: jax.Array,
    inputs: DeviceRows,
    targets: DeviceRows,
    order: jax.Array,
    *,
    score: MixedScore,
    plan: _Plan,
) -> _Ranking:
    """The first `count` of the mixtures are ranked: [batches, C, B] users, of the others nothing is found."""
    room = len(jax.tree.leaves(mixtures)[0])

    def rank(arguments: Any, shown: SparseBatch, held_out: SparseBatch) -> _Ranking:
        params, mixtures, count = arguments
        parts = score.parts(params, shown)

        def rank_mixture(number: jax.Array) -> _Ranking:
            mixture = jax.tree.map(lambda column: column[number], mixtures)
            return _rank_batch(score.mix(parts, mixture), shown, held_out, plan)

        def add(number: jax.Array, found: _Ranking) -> _Ranking:
            return jax.tree.map(lambda whole, one: whole.at[number].set(one), found, rank_mixture(number))

        nothing = jax.tree.map(
            lambda one: jnp.zeros((room, *one.shape), one.dtype), jax.eval_shape(rank_mixture, jnp.int32(0))
        )
        return jax.lax.fori_loop(0, count, add, nothing)

    replicated = PartitionSpec()
    return _map_batches(rank, (params, mixtures, count), replicated, inputs, targets, order, plan)


def _map_batches(
    rank: Callable[[Any, SparseBatch, SparseBatch], _Ranking],
    arguments: Any,
    placement: Any,
    inputs: DeviceRows,
    targets: DeviceRows,
    order: jax.Array,
    plan: _Plan,
) -> _Ranking:
    """`rank(arguments, shown, held_out)` of each batch, on the devices that the batches are split over."""

    def rank_shard(arguments: Any, inputs: DeviceRows, targets: DeviceRows, order: jax.Array) -> _Ranking:
        def rank_users(users: jax.Array) -> _Ranking:
            shown = gather_batch(inputs, users, capacity=plan.input_capacity)
            held_out = gather_batch(targets, users, capacity=plan.target_capacity)
            return rank(arguments, shown, held_out)

        return jax.lax.map(rank_users, order)

    replicated, split = PartitionSpec(), PartitionSpec(DATA_AXIS)
    return jax.shard_map(
        rank_shard,
        mesh=plan.mesh,
        in_specs=(placement, replicated, replicated, split),
        out_specs=split,
        check_vma=False,  # the results of devices that share users are equal
    )(arguments, inputs, targets, order)


def _rank_batch(scores: jax.Array, shown: SparseBatch, held_out: SparseBatch, plan: _Plan) -> _Ranking:
    items_are_split = any(ITEM_AXIS in spec for spec in plan.placement)
    expected = (shown.lengths.shape[0], plan.own_items if items_are_split else plan.num_items)
    if scores.shape != expected:
        raise ValueError(
            f"scores must have the shape [B, I] = {expected}, got {scores.shape}: check the item vocabulary"
        )
    if items_are_split:
        eligible = exclude_seen_or_padding(scores, shown, num_items=plan.num_items, item_axis=ITEM_AXIS)
    else:
        eligible = exclude_seen(scores, shown)
    # A maximum propagates NaN. That of the scores before the exclusion would keep it from being done in place.
    valid = jnp.max(eligible, axis=-1) < jnp.inf
    if not items_are_split:
        return _Ranking(find_hits(top_k(eligible, plan.k).items, held_out), valid)
    ranked = top_k_over_shards(eligible, plan.k, num_items=plan.num_items, item_axis=ITEM_AXIS)
    valid_everywhere = jax.lax.pmin(valid.astype(jnp.int32), ITEM_AXIS) == 1
    return _Ranking(find_hits(ranked.items, held_out), valid_everywhere)


def _placement(leaf: Any, mesh: Mesh) -> PartitionSpec:
    """Split over items where the array is already, else on every device."""
    sharding = getattr(leaf, "sharding", None)
    if isinstance(sharding, NamedSharding) and sharding.mesh == mesh and ITEM_AXIS in sharding.spec:
        return sharding.spec
    return PartitionSpec()


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
