"""Starting a run from another one that was trained on an earlier window, with another vocabulary."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from piavae_jax import config as configs
from piavae_jax.config import ExperimentConfig
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.errors import UserError
from piavae_jax.training import run_folder
from piavae_jax.training.catalogue import Catalogue, catalogue_of
from piavae_jax.training.checkpoint import best_params
from piavae_jax.training.item_mapping import ItemMapping, map_params, match_items, place_by_neighbours
from piavae_jax.training.layout import item_specs
from piavae_jax.training.programs import recipe_of
from piavae_jax.training.recipes import build_recipe
from piavae_jax.training.run_folder import Origin, RunFolder
from piavae_jax.training.state import TrainState

NEIGHBOURS, FRESH = NEW_ITEMS = ("neighbours", "fresh")
"""What items that the earlier run does not know start from."""

_BODY = (("model", "name"), ("model", "hidden"), ("model", "latent_dim"), ("prior", "kind"))
_PSEUDO_INPUTS = ("prior", "pseudo_inputs")


class WarmStart(NamedTuple):
    """What a new run is to start from."""

    source: Path
    """The folder of a run that was trained for an epoch at least."""
    new_items: str = NEIGHBOURS
    """One of `NEW_ITEMS`."""


def find_origin(start: WarmStart, config: ExperimentConfig, dataset: PreparedDataset) -> Origin:
    """What a run of this config on this data starts from; nothing is written.

    Raises:
      UserError: the source is no run with a checkpoint, has another body or no item of the data set, or several
        processes train.
    """
    if start.new_items not in NEW_ITEMS:
        raise UserError(f"new_items must be one of {', '.join(NEW_ITEMS)}, got {start.new_items!r}")
    source, params = _read(start.source, config)
    mapping = _map_items(source, dataset, start.new_items)
    kept, placed = len(mapping.shared), len(mapping.placed)
    return Origin(
        path=str(start.source.resolve()),
        name=source.config.name,
        data=source.data_name,
        params_digest=_digest(params),
        new_items=start.new_items,
        kept=kept,
        from_neighbours=placed,
        fresh=dataset.num_items - kept - placed,
        dropped=source.vocabulary.height - kept,
    )


def check_same_start(run: RunFolder, start: WarmStart | None) -> None:
    """Refuse to go on with a run that started from elsewhere; without a start, go on with any.

    Raises:
      UserError: the run began otherwise.
    """
    if start is None:
        return
    if run.origin is None:
        raise UserError(
            f"{run.path} was begun without another run to start from, now there is {start.source}; "
            "choose another --config.workdir, or leave out --init-from to go on"
        )
    if (run.origin.path, run.origin.new_items) != (str(start.source.resolve()), start.new_items):
        raise UserError(
            f"{run.path} started from {run.origin.path}, new items from {run.origin.new_items}; now it is "
            f"{start.source} and {start.new_items}; choose another --config.workdir, or leave out --init-from to go on"
        )


def warm_state(state: TrainState, origin: Origin, config: ExperimentConfig, dataset: PreparedDataset) -> TrainState:
    """The state before the first update with the parameters that a run starts from.

    All but the parameters is that of a fresh start: optimisers, lambda_A, the schedules' clock, the PRNG key.

    Args:
      state: a fresh start, on the devices that train.
      origin: what `find_origin` found.
      config: of the new run.
      dataset: it trains on.

    Raises:
      UserError: as `find_origin`, or the source has changed since.
    """
    source, params = _read(Path(origin.path), config)
    if _digest(params) != origin.params_digest:
        raise UserError(
            f"{origin.path} has changed since this run started from it; restore it, or choose another --config.workdir"
        )
    catalogue = catalogue_of(dataset)

    def init(catalogue: Catalogue) -> dict:
        return build_recipe(config, catalogue).init(jax.random.key(0))

    fresh = jax.tree.map(_unpadded, jax.eval_shape(lambda: init(catalogue)), state.params)
    specs = item_specs(lambda count: init(catalogue.resized(count)), catalogue.num_items)
    mapped = map_params(params, fresh, specs, _map_items(source, dataset, origin.new_items))
    return state._replace(params=jax.tree.map(_place, state.params, mapped))


def _unpadded(shape: jax.ShapeDtypeStruct, leaf: jax.Array) -> np.ndarray:
    return np.asarray(jax.device_get(leaf))[tuple(slice(size) for size in shape.shape)]


def _place(like: jax.Array, value: np.ndarray) -> jax.Array:
    padding = [(0, size - own) for size, own in zip(like.shape, value.shape, strict=True)]
    # Training writes into these buffers: they must not be NumPy's.
    return jax.device_put(np.pad(value, padding), like.sharding, may_alias=False)


def _read(path: Path, config: ExperimentConfig) -> tuple[RunFolder, dict]:
    if jax.process_count() > 1:
        raise UserError(
            f"a run starts from {path} in one process only, got {jax.process_count()}; train its first epoch in one "
            "(--config.training.epochs=1), then go on in all"
        )
    source = run_folder.load(path)
    if source.config.fusion.fuses:
        raise UserError(f"{path} is several models fused; start from one of those in {path / 'members'}")
    _check_body(source, config)
    recipe = recipe_of(source.config, source.catalogue)
    return source, jax.device_get(best_params(path, recipe, source.config))


def _check_body(source: RunFolder, config: ExperimentConfig) -> None:
    ours, theirs = configs.to_dict(config), configs.to_dict(source.config)
    has_pseudo_inputs = config.prior.kind == "vamp" or config.model.name == "hvamp"
    for part, name in (*_BODY, _PSEUDO_INPUTS) if has_pseudo_inputs else _BODY:
        if ours[part][name] != theirs[part][name]:
            raise UserError(
                f"{source.path} has config.{part}.{name}={theirs[part][name]!r}, the new run {ours[part][name]!r}; a "
                "run starts from one of the same body only: give it that value, or train it afresh"
            )


def _map_items(source: RunFolder, dataset: PreparedDataset, new_items: str) -> ItemMapping:
    ids, old_ids = dataset.items["item_id"], source.vocabulary["item_id"]
    mapping = match_items(ids, old_ids)
    if not len(mapping.shared):
        raise UserError(
            f"{source.path} was trained on {source.data_name!r} and knows none of the {len(ids)} items of "
            f"{dataset.path or dataset.name} (ids of type {old_ids.dtype} there, {ids.dtype} here); "
            "start from a run on the same catalogue"
        )
    if new_items == FRESH or len(mapping.shared) == dataset.num_items:
        return mapping
    return place_by_neighbours(mapping, dataset.train, dataset.num_items)


def _digest(params: dict) -> str:
    """SHA-256 (hex) of the names and bytes of all arrays."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(params):
        digest.update(jax.tree_util.keystr(path).encode() + np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
