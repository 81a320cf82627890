"""What the next steps need, put on the devices while steps run."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from piavae_jax.data.batches import PackedBatch, pack_batches
from piavae_jax.data.csr import CSR
from piavae_jax.evaluation import DATA_AXIS
from piavae_jax.training.step import Steps

Feed: TypeAlias = Callable[[Sequence[np.ndarray], int], Generator[Steps, None, None]]
"""`feed(chunks, capacity)` yields the `Steps` of one chunk after the other on the devices. `chunks: int32[C, B]` each,
B a multiple of the devices; `capacity` is the slots N of each device's share of a batch. Close it after use."""

Value = TypeVar("Value")
Loaded = TypeVar("Loaded")


def send_orders(mesh: Mesh | None) -> Feed:
    """The feed for interactions on the devices: orders of users."""
    placement = _Placement(mesh)

    def feed(chunks: Sequence[np.ndarray], capacity: int) -> Generator[Steps, None, None]:
        del capacity
        return (placement.put(placement.own(chunk)) for chunk in chunks)

    return feed


def stream_batches(rows: CSR, mesh: Mesh | None) -> Feed:
    """The feed for interactions on disk: batches that a thread reads from `rows`, one chunk ahead of the steps.

    Each process reads only what its own devices need.
    """
    placement = _Placement(mesh)

    def load(chunk: np.ndarray, capacity: int) -> PackedBatch:
        fields = pack_batches(rows, placement.own(chunk), capacity=capacity)
        return PackedBatch(*(placement.put(field) for field in fields))

    def feed(chunks: Sequence[np.ndarray], capacity: int) -> Generator[Steps, None, None]:
        return prefetch(lambda chunk: load(chunk, capacity), chunks)

    return feed


def prefetch(load: Callable[[Value], Loaded], values: Iterable[Value]) -> Generator[Loaded, None, None]:
    """Yield `load(value)` for each value, in order, while a thread loads the one after it.

    An error in `load` is raised where its result is asked for. The thread has ended when the generator has, by its
    last value, by an error or by `close`.
    """
    waiting: deque[Future[Loaded]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as thread:
        try:
            for value in values:
                waiting.append(thread.submit(load, value))
                if len(waiting) == 2:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            thread.shutdown(cancel_futures=True)


class _Placement:
    """Splits the users of batches over the mesh's devices: S equal shares, of which a process handles its own."""

    def __init__(self, mesh: Mesh | None) -> None:
        self._sharding = None if mesh is None else NamedSharding(mesh, PartitionSpec(None, DATA_AXIS))
        self._shards = 1 if mesh is None else mesh.shape[DATA_AXIS]
        self._own = [0] if self._sharding is None else _own_shards(self._sharding, self._shards)

    def own(self, order: np.ndarray) -> np.ndarray:
        """int32[C, B] -> int32[C, S', B / S]: the shares of this process's devices."""
        return order.reshape(len(order), self._shards, -1)[:, self._own]

    def put(self, shares: np.ndarray) -> jax.Array:
        """[C, S', X] of this process -> [C, S X] over all devices."""
        steps, _, width = shares.shape
        flat = shares.reshape(steps, -1)
        if self._sharding is None:
            return jax.device_put(flat)
        return jax.make_array_from_process_local_data(self._sharding, flat, (steps, self._shards * width))


def _own_shards(sharding: NamedSharding, shards: int) -> list[int]:
    """The shares of a batch that devices of this process hold, ascending."""
    indices = sharding.addressable_devices_indices_map((1, shards)).values()
    return sorted({index[1].start or 0 for index in indices if index is not None})
