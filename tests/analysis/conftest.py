import jax
import pytest
from tiny_runs import tiny_config, tiny_dataset

from piavae_jax.analysis import load_subject
from piavae_jax.data.prepared import load_prepared, write_prepared
from piavae_jax.training.fit import fit


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """50 training users of two tastes, 40 items."""
    path = tmp_path_factory.mktemp("data") / "tiny"
    write_prepared(tiny_dataset(), path)
    return load_prepared(path)


@pytest.fixture(scope="session")
def run_path(dataset, tmp_path_factory):
    """The run folder of a small Multi-VAE + PIA, trained on `dataset`."""
    return _train(dataset, tmp_path_factory.mktemp("runs") / "multvae_pia", pia=True)


@pytest.fixture(scope="session")
def twin_path(dataset, tmp_path_factory):
    """The run folder of the same Multi-VAE without PIA."""
    return _train(dataset, tmp_path_factory.mktemp("runs") / "multvae", pia=False)


def _train(dataset, path, *, pia):
    config = tiny_config(str(dataset.path))
    config.training.epochs, config.kl.total_steps, config.pia.enabled = 12, 30, pia
    with jax.numpy_dtype_promotion("standard"):  # Optax's Adam mixes Python floats with int32 counts
        fit(config, dataset, path)
    return path


@pytest.fixture(scope="session")
def subject(run_path):
    """What `run_path` holds, restored."""
    return load_subject(run_path)
