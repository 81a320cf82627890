"""x."""

from piavae_jax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = ExperimentConfig(name="ml1m")
    config.data.path = "data/ml1m"
    config.kl.total_steps = 5500
    config.pia.weight = 1.0
    config.pia.scale = 1.5
    config.training.epochs = 130
    config.training.early_stopping = 30
    return config
