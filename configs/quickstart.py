"""Multi-VAE + PIA on a small generated data set; `make quickstart` runs it whole."""

from piavae_jax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = ExperimentConfig(name="quickstart")
    config.data.path = "data/quickstart"
    config.model.hidden = (200,)
    config.model.latent_dim = 64
    config.kl.total_steps = 4_000
    config.pia.weight = 1.0
    config.pia.scale = 1.5
    config.training.epochs = 40
    config.training.batch_size = 100
    return config
