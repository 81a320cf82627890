import shutil
from pathlib import Path

import jax
import pytest
from report_runs import train, write_page
from tiny_runs import evil_dataset, tiny_config

from piavae_jax.data.prepared import write_prepared
from piavae_jax.training import run_folder
from piavae_jax.training.ensemble import member_configs


@pytest.fixture(scope="module", autouse=True)
def promotion_as_optax_needs_it():
    """Optax's Adam mixes Python floats with int32 counts; our own functions are tested strictly elsewhere."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    return write_prepared(evil_dataset(), tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="session")
def pia_run(tmp_path_factory, dataset):
    """Multi-VAE + PIA, under the name that it has as a member of `fused_run`."""
    config = tiny_config()
    config.name = "tiny-3"
    return train(config, dataset, tmp_path_factory.mktemp("runs") / "pia")


@pytest.fixture(scope="session")
def fused_run(tmp_path_factory, dataset, pia_run):
    """The same model fused with EASE: its member is the run above, trained already."""
    config = tiny_config()
    config.fusion.linear, config.fusion.weights = "ease", (0.0, 4.0)
    workdir = tmp_path_factory.mktemp("runs") / "fused"
    config.data.path = str(dataset.path)
    run_folder.create(workdir, config, dataset)
    member = Path(member_configs(config, workdir)[0].workdir)
    shutil.copytree(pia_run, member)
    return train(config, dataset, workdir)


@pytest.fixture(scope="session")
def code_run(tmp_path_factory, dataset):
    """Multi-DAE, which has no posterior."""
    config = tiny_config()
    config.model.name, config.pia.enabled, config.training.epochs = "multidae", False, 2
    return train(config, dataset, tmp_path_factory.mktemp("runs") / "multidae")


@pytest.fixture(scope="session")
def written(tmp_path_factory, pia_run):
    """The file of the page of Multi-VAE + PIA, in a folder of its own, and what the command printed."""
    out = tmp_path_factory.mktemp("pages") / "new" / "page.html"
    _, printed = write_page(pia_run, out)
    return out, printed


@pytest.fixture(scope="session")
def pia_page(written):
    """The page of Multi-VAE + PIA, as a file."""
    return written[0]
