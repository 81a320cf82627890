import pytest

from piavae_jax import UserError
from piavae_jax.config import ExperimentConfig, apply_settings, get_field


def valid_config() -> ExperimentConfig:
    config = ExperimentConfig()
    config.data.path = "data/any"
    return config


def test_settings_change_a_copy():
    config = valid_config()
    changed = apply_settings(config, {"pia.weight": 0.5, "seed": 7, "model.hidden": (30, 20)})
    assert (changed.pia.weight, changed.seed, changed.model.hidden) == (0.5, 7, (30, 20))
    assert get_field(changed, "pia.weight") == 0.5
    assert config == valid_config()
    assert apply_settings(config, {}) == config


@pytest.mark.parametrize("path", ["pia.wait", "wait", "pia.weight.half", "pia.__class__", ""])
def test_an_unknown_field_is_refused(path):
    for use in (lambda: get_field(valid_config(), path), lambda: apply_settings(valid_config(), {path: 1.0})):
        with pytest.raises(UserError, match=f"^{path} is no field of the config"):
            use()


def test_a_value_that_breaks_its_rule_is_refused():
    with pytest.raises(UserError, match=r"config.pia.scale must be a finite number >= 1, got 0.5"):
        apply_settings(valid_config(), {"pia.scale": 0.5})
    with pytest.raises(UserError, match=r"config.pia must be a PiaConfig, got 3"):
        apply_settings(valid_config(), {"pia": 3})
