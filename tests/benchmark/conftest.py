import io

import jax
import pytest
from rich.console import Console


@pytest.fixture(scope="module", autouse=True)
def promotion_as_optax_needs_it():
    """Optax's Adam mixes Python floats with int32 counts; our own functions are tested strictly elsewhere."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=160)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    from tiny_runs import tiny_dataset

    from piavae_jax.data.prepared import write_prepared

    return write_prepared(tiny_dataset(), tmp_path_factory.mktemp("data") / "tiny")
