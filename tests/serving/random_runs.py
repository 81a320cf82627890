"""Run folders of random weights."""

import jax
from tiny_runs import recipe_of

from piavae_jax.training import run_folder
from piavae_jax.training.checkpoint import Checkpoints
from piavae_jax.training.state import init_state


def write_run(path, config, dataset):
    """A run folder with a checkpoint of random weights, far enough from zero to rank items: no training."""
    config.data.path = str(dataset.path)
    run_folder.create(path, config, dataset)
    with jax.numpy_dtype_promotion("standard"), Checkpoints(path) as checkpoints:
        state = init_state(recipe_of(config), config)
        checkpoints.save(state, jax.tree.map(lambda leaf: 3 * leaf, state.params))
    return path
