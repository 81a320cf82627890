"""Multi-VAE + PIA on MovieLens-20M with the paper's settings.

    python bin/prepare.py movielens --download ml-20m --out data/ml20m
    python bin/train.py --config configs/ml20m.py

Data: ratings >= 4, users with >= 5, 10,000 + 10,000 held-out users (Liang et al. 2018): 20,108 items.
Published test scores (Recall@20 / Recall@50 / nDCG@100): Multi-VAE .395 / .537 / .426, + PIA .408 / .546 / .437.
Run time and score here: not run here.
"""

from piavae_jax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = ExperimentConfig(name="ml20m")
    config.data.path = "data/ml20m"
    config.pia.weight = 2.0  # the paper chooses among 2, 4 and 8 on validation users
    return config
