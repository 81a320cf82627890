import sys
from pathlib import Path

import jax
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))  # the data set and the config of `tiny_runs`


@pytest.fixture(scope="module", autouse=True)
def promotion_as_optax_needs_it():
    """Optax's Adam mixes Python floats with int32 counts; our own functions are tested strictly elsewhere."""
    with jax.numpy_dtype_promotion("standard"):
        yield
