import pytest

from piavae_jax import distributed
from piavae_jax.errors import UserError


@pytest.mark.parametrize("coordinator", ["localhost", "localhost:abc", ":5000", "localhost:0", "localhost:70000"])
def test_a_coordinator_is_a_host_and_a_port(coordinator):
    with pytest.raises(UserError, match=f"--coordinator must be HOST:PORT .* got '{coordinator}'"):
        distributed.connect(coordinator, 2, 0)


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (ValueError("UNKNOWN: Gloo all-reduce failed: Connection closed by peer"), True),
        (RuntimeError("DEADLINE_EXCEEDED: Barrier timed out"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory at optimization_barrier"), False),
        (RuntimeError("NCCL operation failed: unhandled cuda error 'out of memory'"), False),
        (OSError("nccl"), False),
    ],
)
def test_a_lost_process_is_told_from_want_of_memory(error, is_lost):
    assert distributed.is_lost_process(error) is is_lost
