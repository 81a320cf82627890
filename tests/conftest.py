"""Strict JAX for the whole suite: four simulated devices, no silent promotion of dtypes or ranks."""

import gc
import os
from importlib.metadata import version
from pathlib import Path

# Most of the suite's time is compilation. LLVM's optimisations, which no test is about, are half of that; of the rest
# the newer of two emitters of fused loops takes two thirds. Later releases have no other one, and refuse the flag.
# Programs this small are not worth cutting into parts that are compiled each on its own, nor ordering for concurrency.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=4",
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_enable_concurrency_optimized_scheduler=false",
        "--xla_cpu_parallel_codegen_split_count=1",
        "--xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else "",
    ]
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Programs are compiled once for all tests, worker processes, commands and runs.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).parents[1] / ".pytest_cache" / "jax")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import jax
import pytest

ROOT = Path(__file__).parents[1]

pytest_plugins = ["browser"]

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_collection_modifyitems(items):
    """Modules that train come first: what one process still runs when the others have ended is then short."""
    items.sort(key=lambda item: item.path.parent.name not in ("training", "benchmark"))


@pytest.fixture(scope="module", autouse=True)
def unscanned_garbage():
    """What earlier modules left, compiled programs above all, is not looked through again at every collection."""
    gc.freeze()


SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; tests that need it skip where it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real data sets are not at ../shared/data")
    return SHARED_DATA
