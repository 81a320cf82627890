"""A data set and configs small enough to train in a second."""

import dataclasses

import numpy as np
import polars as pl

from piavae_jax.config import ExperimentConfig
from piavae_jax.data.csr import from_pairs
from piavae_jax.data.prepared import HeldOut, PreparedDataset, assemble
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.recipe import Recipe
from piavae_jax.training.recipes import build_recipe

EVIL = "<script>window.broken = 1</script> & \"quotes\" 'too' </title>"
"""A title that no page should trust."""
NUM_ITEMS, TRAIN_USERS, HELDOUT_USERS = 40, 50, 12


def _random_pairs(generator, users, low, high):
    """Users of two tastes, each with items of its own half more often."""
    rows, items = [], []
    for user in range(users):
        weights = np.where(np.arange(NUM_ITEMS) % 2 == user % 2, 8.0, 1.0) / (1 + np.arange(NUM_ITEMS))
        count = generator.integers(low, high)
        rows += [user] * count
        items += list(generator.choice(NUM_ITEMS, count, replace=False, p=weights / weights.sum()))
    return np.array(rows), np.array(items)


def _held_out(generator, first):
    rows, items = _random_pairs(generator, HELDOUT_USERS, 6, 15)
    target = generator.random(len(rows)) < 0.3
    parts = [from_pairs(rows[part], items[part], num_rows=HELDOUT_USERS) for part in (~target, target)]
    return HeldOut(np.arange(first, first + HELDOUT_USERS, dtype=np.int32), *parts)


def tiny_dataset(seed: int = 0, name: str = "tiny") -> PreparedDataset:
    generator = np.random.default_rng(seed)
    rows, items = _random_pairs(generator, TRAIN_USERS, 5, 20)
    users = TRAIN_USERS + 2 * HELDOUT_USERS
    return assemble(
        name=name,
        source="test",
        protocol="strong_generalization",
        parameters={},
        seed=seed,
        raw=None,
        filtered_items=NUM_ITEMS,
        interactions=len(rows),
        dropped={},
        train=from_pairs(rows, items, num_rows=TRAIN_USERS),
        train_users=np.arange(TRAIN_USERS, dtype=np.int32),
        validation=_held_out(generator, TRAIN_USERS),
        test=_held_out(generator, TRAIN_USERS + HELDOUT_USERS),
        items=pl.DataFrame(
            {"item_id": [f"i{n}" for n in range(NUM_ITEMS)], "title": [f"Title {n}" for n in range(NUM_ITEMS)]}
        ),
        users=pl.DataFrame({"user_id": np.arange(1000, 1000 + users)}),
    )


def evil_dataset() -> PreparedDataset:
    """A data set whose most popular item has the title `EVIL`, and whose second has none."""
    plain = tiny_dataset()
    titles = [EVIL, None, *plain.items["title"][2:]]
    return dataclasses.replace(plain, items=plain.items.with_columns(title=pl.Series(titles, dtype=pl.String)))


def tiny_config(path: str = "unused", *, checkpoint_seconds: float = 30.0) -> ExperimentConfig:
    """A checkpoint takes longer than an epoch: 0, for one after each, is for tests of what happens between them."""
    config = ExperimentConfig(name="tiny", seed=3)
    config.data.path = path
    config.model.hidden, config.model.latent_dim = (16,), 6
    config.kl.total_steps = 100
    config.pia.patience = 1
    config.training.epochs = 5
    config.training.batch_size = 16  # four steps, the last of two users
    config.training.steps_per_dispatch = 3
    config.training.devices = 1
    config.training.checkpoint_seconds = checkpoint_seconds
    return config


def recipe_of(config: ExperimentConfig, num_items: int = NUM_ITEMS, item_axis: str | None = None) -> Recipe:
    """The recipe of a config for so many items, all equally popular."""
    return build_recipe(config, Catalogue(np.full(num_items, 3), TRAIN_USERS), item_axis=item_axis)
