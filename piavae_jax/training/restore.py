"""A trained model from its run folder alone."""

from pathlib import Path
from typing import NamedTuple

import jax
from jax.sharding import SingleDeviceSharding

from piavae_jax.models import Model
from piavae_jax.training import run_folder
from piavae_jax.training.checkpoint import Checkpoints
from piavae_jax.training.run_folder import RunFolder
from piavae_jax.training.session import build_model
from piavae_jax.training.state import init_state


class TrainedModel(NamedTuple):
    """A model at its best epoch."""

    run: RunFolder
    model: Model
    params: dict


def restore(workdir: Path) -> TrainedModel:
    """Restore the best parameters of a run; no data set is needed.

    Raises:
      UserError: the folder is no run, is damaged, or has no checkpoint yet.
    """
    run = run_folder.load(workdir)
    model = build_model(run.config, run.vocabulary.height)
    # The checkpoint names the devices that it was saved from; ours may be fewer, or others.
    here = SingleDeviceSharding(jax.local_devices()[0])
    shapes = jax.eval_shape(lambda: init_state(model, run.config)).params
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), shapes)
    with Checkpoints(workdir, read_only=True) as checkpoints:
        return TrainedModel(run, model, checkpoints.restore_best(like))
