"""Multi-VAE + PIA on MovieLens-100K.

    python bin/prepare.py movielens --download ml-100k --out data/ml100k --heldout-users 100
    python bin/train.py --config configs/ml100k.py

Data: ratings >= 4, users with >= 5, 100 + 100 held-out users, seed 98765: 738 training users.
Run time: under two minutes on two busy CPU cores.
Test nDCG@100 / Recall@20 / Recall@50, one seed: .451 / .387 / .579, standard errors .019 / .027 / .025; plain Multi-VAE
(--config.pia.enabled=false --config.name=ml100k-multvae) .435 / .383 / .562; popularity .254 / .182 / .308. A hundred
test users make this a smoke test, not a comparison.
"""

from piavae_jax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = ExperimentConfig(name="ml100k")
    config.data.path = "data/ml100k"
    config.model.hidden = (200,)
    config.model.latent_dim = 64
    config.kl.total_steps = 5_000
    config.pia.weight = 0.5
    config.pia.scale = 1.2
    config.training.epochs = 150
    config.training.batch_size = 100
    config.training.early_stopping = 30
    return config
