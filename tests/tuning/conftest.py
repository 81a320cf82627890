import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def promotion_as_optax_needs_it():
    """Optax's Adam mixes Python floats with int32 counts; our own functions are tested strictly elsewhere."""
    with jax.numpy_dtype_promotion("standard"):
        yield
