import chex
import jax
import pytest
from tiny_runs import NUM_ITEMS, recipe_of, tiny_config

from piavae_jax.models import init_anchors
from piavae_jax.training.recipes.parts import build_body, make_optimizer
from piavae_jax.training.state import init_state


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
@pytest.mark.parametrize("std", [0.01, 0.037])
def test_the_first_state_is_its_parts_drawn_one_by_one(seed, std):
    config = tiny_config()
    config.seed, config.pia.anchor_std = seed, std
    model = build_body(config, NUM_ITEMS)
    state = init_state(recipe_of(config), config)
    key = jax.random.key(seed)
    expected = model.init(jax.random.fold_in(key, 0))
    expected["anchors"] = init_anchors(NUM_ITEMS, config.model.latent_dim, std=std, key=jax.random.fold_in(key, 1))
    # To rounding: one program may contract a product and a sum that two programs do not.
    chex.assert_trees_all_close(state.params, expected, rtol=1e-6)
    chex.assert_trees_all_close(state.opt_state, {"joint": make_optimizer(config).init(expected)}, rtol=1e-6)
    assert state.key == jax.random.fold_in(key, 2)


def test_without_pia_there_are_no_anchors():
    config = tiny_config()
    config.pia.enabled = False
    assert set(init_state(recipe_of(config), config).params) == {"encoder", "decoder"}


@pytest.mark.parametrize("std", [0.01, 0.3])
def test_anchors_are_scaled_draws_in_a_program_too(std):
    draws = jax.random.normal(jax.random.key(4), (50, 7))
    drawn = jax.jit(lambda key: init_anchors(50, 7, std=std, key=key))(jax.random.key(4))
    chex.assert_trees_all_equal(drawn, std * draws)
