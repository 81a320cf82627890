"""Runs that differ in nothing that is compiled share what is compiled, and nothing else."""

import dataclasses

import chex
import numpy as np
import pytest
from tiny_runs import NUM_ITEMS, TRAIN_USERS, tiny_config, tiny_dataset

from piavae_jax.config import apply_settings
from piavae_jax.data.prepared import write_prepared
from piavae_jax.training import programs
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.fit import fit
from piavae_jax.training.programs import programs_of, recipe_of
from piavae_jax.training.step import inverse_activity

CATALOGUE = Catalogue(np.arange(1, NUM_ITEMS + 1), TRAIN_USERS)


def of(config, catalogue=CATALOGUE, user_weight=None):
    return programs_of(config, catalogue, user_weight=user_weight, mesh=None)


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 4, "name": "other", "workdir": "elsewhere"},
        {"training.epochs": 9, "training.early_stopping": 2, "training.checkpoint_seconds": 1.0},
        {"evaluation.metrics": ("recall@5",), "fusion.members": 3, "data.path": "moved"},
    ],
    ids=str,
)
def test_what_no_program_sees_changes_no_program(settings):
    assert of(apply_settings(tiny_config(), settings)) is of(tiny_config())


@pytest.mark.parametrize(
    "settings",
    [
        {"kl.cap": 0.3},
        {"pia.enabled": False},
        {"mask.keep_prob": 0.6},
        {"model.latent_dim": 7},
        {"optimizer.learning_rate": 0.1},
        {"training.item_block": 8},
    ],
    ids=str,
)
def test_what_a_program_sees_makes_another(settings):
    changed = apply_settings(tiny_config(), settings)
    assert of(changed).run_steps["joint"] is not of(tiny_config()).run_steps["joint"]
    assert recipe_of(changed, CATALOGUE) is not recipe_of(tiny_config(), CATALOGUE)


def test_data_that_a_program_sees_make_another():
    config = tiny_config()
    config.mask.kind = "popularity"
    other = CATALOGUE._replace(train_users=CATALOGUE.train_users[::-1])
    assert of(config, other) is not of(config)
    assert of(config, CATALOGUE._replace(train_users=CATALOGUE.train_users.astype(np.int32))) is of(config)
    lengths = np.array([1, 4, 9])
    weighted = of(config, user_weight=inverse_activity(lengths, 0.5))
    assert weighted is of(config, user_weight=inverse_activity(lengths[::-1].copy(), 0.5))
    assert weighted is not of(config, user_weight=inverse_activity(lengths + 1, 0.5))
    assert weighted is not of(config)


def test_a_run_is_restored_with_the_recipe_that_trained_it():
    assert recipe_of(tiny_config(), CATALOGUE) is of(tiny_config()).recipe


def test_seeds_share_a_program_and_keep_their_bits(tmp_path):
    dataset = write_prepared(tiny_dataset(), tmp_path / "data")
    first, second = (dataclasses.replace(tiny_config(), seed=seed) for seed in (3, 4))
    before = fit(first, dataset, tmp_path / "first").session.run_steps["joint"]
    compiled = before._cache_size()
    shared = fit(second, dataset, tmp_path / "second")
    assert shared.session.run_steps["joint"] is before
    assert before._cache_size() == compiled
    programs.forget()
    alone = fit(second, dataset, tmp_path / "alone")
    assert alone.session.run_steps["joint"] is not before
    chex.assert_trees_all_equal(alone.params, shared.params)


def test_few_are_kept():
    kept = of(tiny_config())
    for cap in np.linspace(0.4, 0.9, 20):
        of(apply_settings(tiny_config(), {"kl.cap": float(cap)}))
    assert of(tiny_config()) is not kept
