"""Training by several processes: how they meet, and what they must agree on.

Process 0 writes the files and speaks to the user. All processes run the same programs over the devices of all of them,
so whatever decides what runs next, a clock or a file, is decided by process 0.
"""

import signal
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from piavae_jax.errors import UserError

HEARTBEAT_SECONDS = 30
"""A process that has been silent for so long is taken for dead, and the job ends."""

_MESSAGE_BYTES = 2048

Result = TypeVar("Result")
Tree = TypeVar("Tree")


def connect(coordinator: str | None = None, process_count: int | None = None, process_id: int | None = None) -> None:
    """Join the other processes of the job; before any other use of JAX.

    Args:
      coordinator: HOST:PORT of process 0, on which it listens.
      process_count: processes of the job.
      process_id: the number of this one, from 0. What is None is detected where JAX knows how (Slurm, Open MPI, TPU).

    Raises:
      UserError: something is missing and cannot be detected, or process 0 cannot listen.
    """
    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 1 << 16):
            raise UserError(f"--coordinator must be HOST:PORT with a port from 1 to 65535, got {coordinator!r}")
    try:
        jax.distributed.initialize(coordinator, process_count, process_id, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except ValueError as error:
        raise UserError(
            f"the processes of the job cannot be detected ({error}); "
            "pass --coordinator=HOST:PORT, --process_count=N and --process_id=0 to N - 1"
        ) from error
    except jax.errors.JaxRuntimeError as error:
        if "RPC server" not in str(error):
            raise
        raise UserError(
            f"process 0 cannot listen on {coordinator}: wait until its port is free, or choose another"
        ) from (error)
    # JAX only takes note of this signal, for programs that save before they are preempted; this one can be killed.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def is_primary() -> bool:
    """Whether this is process 0, or the only one."""
    return jax.process_index() == 0


def agreed(value: float) -> float:
    """Process 0's value, in single precision, for all processes, which must all call this."""
    return value if jax.process_count() == 1 else float(multihost_utils.broadcast_one_to_all(np.float32(value)))


def primary_first(on_primary: Callable[[], Result], on_others: Callable[[], Result]) -> Result:
    """Call one function on process 0 and, when it has returned, the other on the other processes.

    Raises:
      UserError: on all processes, where `on_primary` raises it.
    """
    if jax.process_count() == 1:
        return on_primary()
    if is_primary():
        try:
            result = on_primary()
        except UserError as error:
            _broadcast_text(str(error))
            raise
        _broadcast_text("")
        return result
    problem = _broadcast_text("")
    if problem:
        raise UserError(problem)
    return on_others()


def _broadcast_text(text: str) -> str:
    """Process 0's text, cut to a fixed length so that one program sends any."""
    data = np.frombuffer(text.encode()[:_MESSAGE_BYTES].ljust(_MESSAGE_BYTES, b"\0"), np.uint8)
    received: np.ndarray = multihost_utils.broadcast_one_to_all(data)
    return received.tobytes().rstrip(b"\0").decode(errors="ignore")


def replicate(tree: Tree, mesh: Mesh) -> Tree:
    """Put a copy of every array on every device; each process must pass the same values."""
    sharding = NamedSharding(mesh, PartitionSpec())
    if mesh.is_multi_process:  # `device_put` takes no PRNG keys there, and would send all values to compare them
        return jax.jit(_identity, out_shardings=sharding)(tree)
    return jax.device_put(tree, sharding)


def _identity(tree: Tree) -> Tree:
    return tree


def is_lost_process(error: BaseException) -> bool:
    """Whether an error of JAX says that another process does not answer any more."""
    text = str(error).lower()
    of_memory = "resource_exhausted" in text or "out of memory" in text  # which may speak of collectives too
    return isinstance(error, RuntimeError | ValueError) and not of_memory and any(word in text for word in _LOST)


_LOST = ("gloo", "nccl", "coordination service", "barrier", "heartbeat")
"""Words in what the collectives of CPU and GPU, JAX and Orbax then raise: there is no class of its own for it."""
