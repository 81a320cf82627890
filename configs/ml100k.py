"""Multi-VAE + PIA on MovieLens-100K."""

from piavae_jax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = ExperimentConfig(name="ml100k")
    config.data.path = "data/ml100k"
    config.model.hidden = (200,)
    config.model.latent_dim = 64
    config.kl.total_steps = 5_000
    config.pia.weight = 1.0
    config.pia.scale = 1.5
    config.training.epochs = 150
    config.training.batch_size = 100
    config.training.early_stopping = 30
    return config
