"""Multi-VAE + PIA on a prepared data set of your own.

    python bin/prepare.py table --input log.parquet --user-column user --item-column item --out data/own
    python bin/train.py --config configs/own.py --config.data.path=data/own --config.name=own

Small data (some thousand users) wants a short KL annealing and a small lambda_A, as here; search around them with
bin/tune.py. Large data wants the paper's settings: see configs/ml20m.py.
Run time and score: those of your data.
"""

from piavae_jax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = ExperimentConfig(name="own")
    config.kl.total_steps = 5_000
    config.pia.weight = 0.5
    config.pia.scale = 1.5
    config.pia.patience = 10
    config.training.epochs = 150
    config.training.early_stopping = 30
    return config
