"""The best model on MovieLens-1M so far: WARP-VAE + PIA and RecVAE + PIA, fused late with EDLAE.

    python bin/prepare.py movielens --download ml-1m --out data/ml1m --heldout-users 600
    python bin/train.py --config configs/best_ml1m.py

Data: as configs/ml1m.py.
Run time: 4 minutes on two CPU cores with other work beside.
Test nDCG@100 / Recall@20 / Recall@50: .443 / .374 / .500; its members alone .437 / .370 / .492 and .429 / .363 / .490,
EDLAE alone .431 / .365 / .488. docs/results.md compares it with all others. Chosen on the validation users (.442),
before one of the VAEs fused likewise (.440 and .439); EDLAE's settings, the weight and the shares (3/4 WARP-VAE) too.
"""

from piavae_jax.config import ExperimentConfig, differences
from piavae_jax.presets import preset


def get_config() -> ExperimentConfig:
    config = preset("warpvae_pia")
    config.name = "best-ml1m"
    config.data.path = "data/ml1m"
    config.training.early_stopping = 30
    recvae = preset("recvae_pia")
    recvae.pia.weight, recvae.pia.scale = 0.02, 1.0
    recvae.training.epochs, recvae.training.batch_size, recvae.training.early_stopping = 60, 250, 10
    config.fusion.others = (differences(recvae, config),)
    config.fusion.linear = "edlae"
    config.fusion.dropout, config.fusion.regularization, config.fusion.activity_exponent = 0.5, 200.0, 0.5
    return config
