"""Multi-VAE + PIA on MovieLens-1M.

    python bin/prepare.py movielens --download ml-1m --out data/ml1m --heldout-users 600
    python bin/train.py --config configs/ml1m.py

Data: ratings >= 4, users with >= 5, 600 + 600 held-out users, seed 98765: 4,834 training users, 3,497 items.
Run time: about 2 minutes on one core of a busy 2-core machine.
Test nDCG@100 / Recall@20 / Recall@50, mean of seeds 0 to 4: .420 / .351 / .478; plain Multi-VAE
(--config.pia.enabled=false --config.name=ml1m-multvae) .404 / .337 / .467; popularity .216 / .172 / .248. How PIA's
settings were chosen is in docs/results.md.
"""

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
