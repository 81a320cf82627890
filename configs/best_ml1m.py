"""The best model on MovieLens-1M so far: three WARP-VAE + PIA, fused late with EDLAE.

    python bin/prepare.py movielens --download ml-1m --out data/ml1m --heldout-users 600
    python bin/train.py --config configs/best_ml1m.py

Data: as configs/ml1m.py.
Run time: 4 minutes on two CPU cores with other work beside.
Test nDCG@100 / Recall@20 / Recall@50: .443 / .372 / .500; its members alone .437 to .440 / .370 to .374 / .489 to .494,
EDLAE alone .431 / .365 / .488. docs/results.md compares it with all others. Chosen on the validation users (.442),
before one WARP-VAE + PIA (.440) and one RecVAE + PIA (.439) fused likewise; EDLAE's settings and the weight too.
"""

from piavae_jax.config import ExperimentConfig
from piavae_jax.presets import preset


def get_config() -> ExperimentConfig:
    config = preset("warpvae_pia")
    config.name = "best-ml1m"
    config.data.path = "data/ml1m"
    config.training.early_stopping = 30
    config.fusion.members, config.fusion.linear = 3, "edlae"
    config.fusion.dropout, config.fusion.regularization, config.fusion.activity_exponent = 0.5, 200.0, 0.5
    return config
