import dataclasses
import json

import pytest

from piavae_jax import UserError
from piavae_jax.config import ExperimentConfig, from_dict, to_dict, validate


def valid_config() -> ExperimentConfig:
    config = ExperimentConfig()
    config.data.path = "data/any"
    return config


def test_defaults_are_the_papers():
    config = validate(valid_config())
    assert (config.model.hidden, config.model.latent_dim, config.mask.keep_prob) == ((600,), 200, 0.5)
    assert (config.training.batch_size, config.training.epochs, config.optimizer.learning_rate) == (500, 200, 1e-3)
    assert (config.pia.patience, config.pia.scale, config.kl.cap, config.kl.total_steps) == (5, 2.0, 0.2, 200_000)


def test_survives_json():
    config = valid_config()
    config.model.hidden = (30, 20)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_an_unknown_field_is_refused():
    values = to_dict(valid_config())
    values["pia"]["wait"] = 3
    with pytest.raises(UserError, match=r"config has no field pia\.wait; it has enabled, weight"):
        from_dict(values)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("seed", -1, "config.seed must be a whole number >= 0 and below"),
        ("seed", 2**32, "config.seed must be a whole number >= 0 and below"),
        ("seed", 1.5, "config.seed must be a whole number, got 1.5"),
        ("name", "popularity", "config.name must differ from the baseline's"),
        ("name", 3, "config.name must be a string, got 3"),
        ("pia", 1, "config.pia must be a PiaConfig, got 1"),
        ("pia.enabled", "false", "config.pia.enabled must be True or False, got 'false'"),
        ("model.hidden", 600, "config.model.hidden must be a tuple, each entry a whole number, got 600"),
        ("model.hidden", (600.5,), "config.model.hidden must be a tuple, each entry a whole number"),
        ("mask.keep_prob", "0.5", "config.mask.keep_prob must be a number, got '0.5'"),
        ("training.batch_size", True, "config.training.batch_size must be a whole number, got True"),
        ("name", "a/b", "config.name must be a folder name without slashes, got 'a/b'"),
        ("data.path", "", "config.data.path must name a prepared data set"),
        ("model.latent_dim", 0, "must be positive"),
        ("mask.keep_prob", 0.0, r"config.mask.keep_prob must be in \(0, 1\], got 0.0"),
        ("training.activity_exponent", -0.5, "training.activity_exponent must be a finite number >= 0, got -0.5"),
        ("pia.weight", float("nan"), "config.pia.weight must be a finite number >= 0, got nan"),
        ("pia.scale", 0.5, "config.pia.scale must be a finite number >= 1, got 0.5"),
        ("pia.patience", 0, "config.pia.patience must be a finite number >= 1, got 0"),
        ("pia.max_weight", 0.5, "config.pia.max_weight must be finite and at least pia.weight, got 0.5"),
        ("pia.max_weight", float("inf"), "config.pia.max_weight must be finite and at least pia.weight, got inf"),
        ("pia.form", "open", "config.pia.form must be one of"),
        ("kl.cap", -0.1, "config.kl.cap must be a finite number >= 0, got -0.1"),
        ("kl.total_steps", 0, "config.kl.total_steps must be a finite number >= 1, got 0"),
        ("optimizer.name", "lion", "config.optimizer.name must be one of"),
        ("optimizer.learning_rate", -1.0, "config.optimizer.learning_rate must be a finite number >= 0"),
        ("training.interactions", "disk", "config.training.interactions must be one of"),
        ("training.epochs", 0, "config.training.epochs must be a finite number >= 1, got 0"),
        ("training.batch_size", 0, "config.training.batch_size must be a finite number >= 1, got 0"),
        ("evaluation.batch_size", 0, "config.evaluation.batch_size must be a finite number >= 1, got 0"),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(path, value, message):
    config = valid_config()
    *parents, name = path.split(".")
    holder = config
    for parent in parents:
        holder = getattr(holder, parent)
    assert name in {field.name for field in dataclasses.fields(holder)}
    setattr(holder, name, value)
    with pytest.raises(UserError, match=message):
        validate(config)


def test_a_field_that_a_config_file_misspells_is_refused():
    config = valid_config()
    config.pia.wieght = 99.0
    with pytest.raises(UserError, match=r"config has no field pia\.wieght; it has enabled, weight"):
        validate(config)


@pytest.mark.parametrize("name", ["recvae", "hvamp", "multidae", "cdae", "warp"])
def test_a_body_of_no_layers_is_a_linear_vaes_alone(name):
    config = valid_config()
    config.model.hidden = ()
    validate(config)
    config.model.name, config.pia.enabled = name, False
    with pytest.raises(UserError, match=f"config.model.hidden must name at least one layer for {name}"):
        validate(config)


def test_the_gated_model_has_two_layers_at_least():
    config = valid_config()
    config.model.name, config.model.hidden, config.pia.enabled = "hvamp", (20,), False
    with pytest.raises(UserError, match=r"config.model.hidden must have at least two layers for hvamp, got \(20,\)"):
        validate(config)


@pytest.mark.parametrize("name", ["ract", "lambdanet"])
def test_a_stage_that_stands_still_is_not_taken_for_the_end(name):
    config = valid_config()
    config.model.name, config.pia.enabled, config.training.early_stopping = name, False, 5
    with pytest.raises(UserError, match=f"config.training.early_stopping must be 0 for {name}, whose validation"):
        validate(config)
    config.training.early_stopping = 0
    validate(config)


def test_lists_become_tuples():
    config = valid_config()
    config.model.hidden = [20, 10]
    assert validate(config).model.hidden == (20, 10)
