import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batch_jobs import random_log
from random_runs import write_run
from tiny_runs import NUM_ITEMS, recipe_of, tiny_config, tiny_dataset

from piavae_jax.config import FusionConfig
from piavae_jax.data.prepared import load_prepared, write_prepared
from piavae_jax.serving import Recommender
from piavae_jax.training import run_folder
from piavae_jax.training.ensemble import save_fused
from piavae_jax.training.fusion import FusedParams


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("serving") / "tiny"
    write_prepared(tiny_dataset(), path)
    return load_prepared(path)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A file of interactions."""
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    random_log().write_parquet(path)
    return path


@pytest.fixture(scope="session")
def pia_run(dataset, tmp_path_factory):
    """Multi-VAE + PIA."""
    return write_run(tmp_path_factory.mktemp("runs") / "pia", tiny_config(), dataset)


@pytest.fixture(scope="session")
def fused_run(dataset, tmp_path_factory):
    """Two Multi-VAEs without PIA, fused with item weights."""
    config = tiny_config()
    config.pia.enabled = False
    config.fusion = FusionConfig(members=2, linear="edlae")
    path = tmp_path_factory.mktemp("runs") / "fused"
    config.data.path = str(dataset.path)
    run_folder.create(path, config, dataset)
    init = recipe_of(config).init
    members = tuple(jax.tree.map(lambda leaf: 3 * leaf, init(jax.random.key(seed))) for seed in (1, 2))
    weights = np.random.default_rng(0).normal(size=(NUM_ITEMS, NUM_ITEMS)).astype(np.float32)
    params = FusedParams(members, {"weights": jnp.asarray(weights)}, jnp.float32(0.5))
    save_fused(path, params)
    return path


@pytest.fixture(scope="session")
def recommender(pia_run):
    return Recommender.from_run(pia_run)


@pytest.fixture(scope="session")
def fused(fused_run):
    return Recommender.from_run(fused_run)
