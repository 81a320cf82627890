import itertools

import numpy as np
import pytest
from tiny_runs import tiny_config

from piavae_jax import UserError
from piavae_jax.config import MASKS, MODELS, apply_settings, get_field
from piavae_jax.presets import PRESETS, preset
from piavae_jax.tuning.distributions import Choice, Float, Int
from piavae_jax.tuning.spaces import (
    check_space,
    declared_space,
    grid_points,
    known_spaces,
    named_space,
    parse_grid,
)


def draw(entry, generator):
    if isinstance(entry, Choice):
        return entry.options[generator.integers(len(entry.options))]
    share = generator.random()
    drawn = entry.low * (entry.high / entry.low) ** share if entry.log else entry.low + share * (entry.high - entry.low)
    return entry.value(round(drawn) if isinstance(entry, Int) else drawn)


@pytest.mark.parametrize("name", PRESETS)
def test_every_model_has_spaces_whose_settings_fit_it(name):
    config = preset(name)
    config.data.path = "data/any"
    spaces = known_spaces(config)
    generator = np.random.default_rng(0)
    for space in spaces.values():
        check_space(config, space)
        for _ in range(20):  # together, not one by one
            apply_settings(config, {path: draw(entry, generator) for path, entry in space.items()})
    assert list(spaces) == (["default", "pia", "sensitivity"] if config.pia.enabled else ["default"])
    assert any(path.startswith("pia.") for path in spaces["default"]) == config.pia.enabled


def test_models_and_masks_are_all_known():
    assert {preset(name).model.name for name in PRESETS} == set(MODELS)
    for model, mask in itertools.product(MODELS, MASKS):
        config = tiny_config()
        config.model.name, config.mask.kind = model, mask
        assert known_spaces(config)["default"]


@pytest.mark.parametrize("name", PRESETS)
def test_published_settings_lie_within_the_space(name):
    config = preset(name)
    space = known_spaces(config)["default"]
    outside = {
        path: get_field(config, path) for path, entry in space.items() if not entry.includes(get_field(config, path))
    }
    assert outside == {}


def test_the_sensitivity_grid_is_the_papers():
    points = grid_points(named_space(tiny_config(), "sensitivity"))
    expected = itertools.product([2.0, 4.0, 8.0], [1.0, 1.5, 2.0, 2.5, 3.0], [3, 5, 7, 10, 15])
    assert [tuple(point.values()) for point in points] == list(expected)
    assert list(points[0]) == ["pia.weight", "pia.scale", "pia.patience"]


def test_an_unknown_name_is_refused_with_those_known():
    with pytest.raises(UserError, match="--space must be one of default, pia, sensitivity, got 'big'"):
        named_space(tiny_config(), "big")


@pytest.fixture
def declare(tmp_path):
    """Writes a config file with a body of `get_space`."""

    def write(body):
        path = tmp_path / "config.py"
        path.write_text(
            "from piavae_jax.tuning.distributions import Choice, Float, Int\n"
            f"def get_config(): return None\ndef get_space(): {body}\n"
        )
        return str(path)

    return write


def test_a_config_file_declares_a_space(declare, tmp_path):
    assert declared_space(declare("return {'pia.weight': Float(1, 2)}")) == {"pia.weight": Float(1, 2)}
    (tmp_path / "plain.py").write_text("def get_config(): return None\n")
    assert declared_space(str(tmp_path / "plain.py")) is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [1]", r"must return Float, Int or Choice by field, got \[1\]"),
        ("return {'pia.weight': (1, 2)}", r"must return Float, Int or Choice by field"),
        ("return 1 / 0", "failed: ZeroDivisionError: division by zero"),
        ("return {'pia.weight': Float(2, 1)}", "Float must have finite ends"),
    ],
)
def test_a_declared_space_that_is_wrong_is_refused(declare, body, message):
    with pytest.raises(UserError, match=message):
        declared_space(declare(body))


def test_grids_are_read_from_a_command_line():
    space = parse_grid(["pia.weight=0.5,1,2", "model.hidden=(16,),(16, 8)", "optimizer.name='adam','sgd'"])
    assert [entry.options for entry in space.values()] == [(0.5, 1, 2), ((16,), (16, 8)), ("adam", "sgd")]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["pia.weight"], "--grid must be FIELD=VALUE,VALUE,.*got 'pia.weight'"),
        (["pia.weight="], "--grid must be"),
        (["=1,2"], "--grid must be"),
        (["pia.weight=1,heavy"], "--grid must be"),
        (["pia.weight=1,1"], "Choice must have options that differ"),
        (["pia.weight=1", "pia.weight=2"], "--grid must name each field once, got pia.weight again"),
    ],
)
def test_wrong_grids_are_refused(texts, message):
    with pytest.raises(UserError, match=message):
        parse_grid(texts)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "a space must vary at least one field"),
        ({"pia.wait": Int(1, 2)}, "pia.wait is no field of the config"),
        ({"data.path": Choice(["a", "b"])}, "a space must leave data.path alone"),
        ({"fusion.members": Int(1, 4)}, "a space must leave fusion.members alone"),
        ({"pia.weight": Float(-1, 1)}, "config.pia.weight must be a finite number >= 0, got -1.0"),
        ({"pia.scale": Float(1, 3), "mask.keep_prob": Float(0.5, 1.5)}, "config.mask.keep_prob must be in"),
        ({"pia.patience": Float(1, 9)}, "config.pia.patience must be a whole number, got 1.0"),
        ({"optimizer.name": Choice(["adam", "lion"])}, "config.optimizer.name must be one of"),
    ],
)
def test_a_space_that_some_trial_would_fail_on_is_refused(space, message):
    with pytest.raises(UserError, match=message):
        check_space(tiny_config(), space)


def test_a_grid_is_every_combination_once():
    space = {"a": Choice([1, 2, 3]), "b": Choice(["x"]), "c": Choice([True, False])}
    points = grid_points(space)
    shape = [len(entry.options) for entry in space.values()]
    for number, indices in enumerate(np.ndindex(*shape)):
        expected = [entry.options[index] for entry, index in zip(space.values(), indices, strict=True)]
        assert list(points[number].values()) == expected
    assert len(points) == 6


def test_a_grid_needs_choices():
    with pytest.raises(UserError, match="a grid needs Choice for every field, got Float"):
        grid_points({"pia.scale": Choice([1, 2]), "pia.weight": Float(1, 2)})
