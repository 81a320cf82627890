"""The simplest of the best models on MovieLens-100K: WARP-VAE + PIA, fused late with EDLAE.

    python bin/prepare.py npz --input ../shared/data/ml100k.npz --min-rating 4 --out data/ml100k --heldout-users 100
    python bin/train.py --config configs/best_ml100k.py

Data: ratings >= 4, users with >= 5 of them, 100 + 100 held-out users, seed 98765; 738 training users.
Run time: under a minute on two CPU cores.
Test nDCG@100, one seed: .466, RecVAE .452, EDLAE .455. A hundred test users tell little: over nine splits, 615 users,
it has .469 ± .008, ahead of EASE, EDLAE and RecVAE with paired 95 % intervals above zero (docs/results.md). On these
splits' validation users it has .483, with RecVAE + PIA .484, with WMF too .485: 615 test users do not tell them apart.
"""

from piavae_jax.config import ExperimentConfig
from piavae_jax.presets import preset


def get_config() -> ExperimentConfig:
    config = preset("warpvae_pia")
    config.name = "best-ml100k"
    config.data.path = "data/ml100k"
    config.training.batch_size, config.training.early_stopping = 92, 30
    config.fusion.linear = "edlae"
    config.fusion.dropout, config.fusion.regularization, config.fusion.activity_exponent = 0.5, 100.0, 0.25
    return config
