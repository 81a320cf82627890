"""x."""

from piavae_jax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = ExperimentConfig(name="ml1m")
    config.data.path = "data/ml1m"
    config.kl.total_steps = 5_500  # the cap comes after 1,100 updates, epoch 110 of 130
    config.pia.weight = 0.5
    config.pia.scale = 1.5
    config.pia.patience = 10
    config.training.epochs = 130
    config.training.early_stopping = 30
    return config
