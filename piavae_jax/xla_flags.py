"""What commands tell XLA before JAX looks for devices; importing the library sets nothing."""

from collections.abc import MutableMapping
from importlib.util import find_spec

_FLAGS = "XLA_FLAGS"
_EARLY_LAUNCH = "--xla_gpu_enable_pdl"


def launch_in_order(environment: MutableMapping[str, str]) -> None:
    """Where JAX can drive GPUs, let no kernel begin before the one ahead has ended, unless the user's flags say so.

    By default XLA of jax 0.10 to 0.12 launches kernels early on Hopper and later GPUs (programmatic dependent launch).
    They wait before they read what others write, but the assembler moves some of these reads above the wait, in
    steps of training as in rankings (`bench/NOTES.md`). Every jaxlib that this library allows knows the flag.
    """
    flags = environment.get(_FLAGS, "")
    if _can_drive_gpus() and f"{_EARLY_LAUNCH}=" not in flags:
        environment[_FLAGS] = f"{flags} {_EARLY_LAUNCH}=false".strip()


def _can_drive_gpus() -> bool:
    """Whether JAX's plugin for CUDA is installed."""
    return find_spec("jax_plugins") is not None and any(
        find_spec(f"jax_plugins.xla_cuda{major}") is not None for major in (12, 13)
    )
