import numpy as np
import pytest

from piavae_jax import UserError
from piavae_jax.baselines import BASELINES, choose, ease
from piavae_jax.baselines.registry import grid_points
from piavae_jax.baselines.selection import climb
from piavae_jax.evaluation import Evaluator

SMALL = {
    "mf": {"dim": (8,), "regularization": (2.0,)},
    "wmf": {"dim": (8,), "regularization": (0.01,), "iterations": (4,)},
    "grals": {"dim": (8,), "regularization": (2.0,), "graph_weight": (0.3,)},
    "plrec": {"dim": (8,), "degree_exponent": (0.25,), "regularization": (1.0,)},
    "ease": {"regularization": (50.0,)},
    "edlae": {"dropout": (0.5,), "regularization": (30.0,)},
    "edlae_weighted": {"activity_exponent": (0.5,), "dropout": (0.5,), "regularization": (30.0,)},
}


def test_every_baseline_but_popularity_has_settings_that_learn():
    assert set(SMALL) == set(BASELINES) - {"popularity"}


@pytest.mark.parametrize("name", SMALL)
def test_communities_are_found(name, communities):
    if name == "plrec":
        pytest.importorskip("sklearn")
    choice = choose(name, communities, grid=SMALL[name])
    popularity = choose("popularity", communities)
    assert choice.table["ndcg@100"].item() > popularity.table["ndcg@100"].item() + 0.03


def test_the_best_point_on_validation_is_kept_and_is_what_a_fit_alone_gives(communities):
    grid = {"regularization": (1e5, 30.0, 1e3)}
    choice = choose("ease", communities, grid=grid)
    assert choice.settings == {"regularization": 30.0}
    assert choice.table["regularization"].to_list() == [1e5, 30.0, 1e3]
    assert choice.table["ndcg@100"].arg_max() == 1
    alone = ease(regularization=30.0).fit(communities.train, communities.num_items)
    np.testing.assert_array_equal(choice.params["weights"], alone["weights"])
    evaluator = Evaluator(communities.validation, num_items=communities.num_items)
    for label, value in evaluator.evaluate(choice.baseline.score, choice.params).summaries().items():
        assert choice.table[label][1] == value.mean


def test_points_with_a_summary_of_their_own_are_fitted_to_it(communities):
    grid = {"activity_exponent": (0.0, 1.0), "dropout": (0.5,), "regularization": (30.0,)}
    found = choose("edlae_weighted", communities, grid=grid).table["ndcg@100"]
    for exponent, value in zip((0.0, 1.0), found, strict=True):
        alone = {setting: values[:1] for setting, values in grid.items()} | {"activity_exponent": (exponent,)}
        assert choose("edlae_weighted", communities, grid=alone).table["ndcg@100"].item() == value


def test_a_climb_finds_the_peak_of_a_smooth_hill_with_a_fraction_of_the_points():
    grid = {"a": tuple(range(9)), "b": tuple(range(11)), "c": (5,)}
    asked = []

    def quality(point):
        asked.append(tuple(point.values()))
        return -((point["a"] - 7) ** 2) - (point["b"] - 2) ** 2 - 0.5 * (point["a"] - 7) * (point["b"] - 2)

    assert climb(grid, quality) == {"a": 7, "b": 2, "c": 5}
    assert len(set(asked)) == len(asked) < 25
    assert asked[0] == (4, 5, 5)


def test_a_climb_ends_at_the_edge_and_on_a_plain():
    assert climb({"a": (1, 2, 3)}, lambda point: point["a"]) == {"a": 3}
    assert climb({"a": (1, 2, 3)}, lambda _: 0.0) == {"a": 2}
    assert climb({}, lambda _: 0.0) == {}


def test_a_climbed_choice_is_that_of_the_points_it_fitted(communities):
    grid = {"regularization": (1.0, 10.0, 1e5, 1e6, 1e7)}
    everything = choose("ease", communities, grid=grid)
    climbed = choose("ease", communities, grid=grid, search="climb")
    assert climbed.settings == everything.settings
    assert climbed.table.height < everything.table.height
    np.testing.assert_array_equal(climbed.params["weights"], everything.params["weights"])


def test_a_grid_is_every_combination():
    assert grid_points({"a": (1, 2), "b": ("x", "y")}) == [
        {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}
    ]  # fmt: skip
    assert grid_points({}) == [{}]


@pytest.mark.parametrize("name", BASELINES)
def test_the_default_grids_hold_valid_settings(name):
    entry = BASELINES[name]
    for settings in [*grid_points(entry.grid), *grid_points({**entry.grid, **entry.of_many_items})]:
        entry.make(**settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "magic"}, "baseline must be one of popularity, mf, .*, got 'magic'"),
        ({"name": "ease", "grid": {"dim": (3,)}}, r"settings of ease \(regularization\), got 'dim'"),
        ({"name": "popularity", "grid": {"dim": (3,)}}, "it has none"),
        ({"name": "ease", "grid": {"regularization": ()}}, "a value for each setting"),
        ({"name": "ease", "grid": {"regularization": (10.0, 0.0)}}, "regularization must be positive"),
        ({"name": "ease", "metrics": ["recall@20"]}, "metrics must hold ndcg@100"),
    ],
)
def test_bad_searches_are_refused(arguments, message, communities):
    with pytest.raises(UserError, match=message):
        choose(dataset=communities, **arguments)
