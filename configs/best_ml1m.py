"""The best model on MovieLens-1M so far: RecVAE + PIA, fused late with EDLAE.

    python bin/prepare.py movielens --download ml-1m --out data/ml1m --heldout-users 600
    python bin/train.py --config configs/best_ml1m.py

Data: as configs/ml1m.py.
Run time: under 3 minutes on two CPU cores.
Test nDCG@100 / Recall@20 / Recall@50, one seed: .443 / .370 / .502; RecVAE + PIA alone .429 / .363 / .490, EDLAE alone
.431 / .365 / .488. docs/results.md compares it with all others. EDLAE's settings and the weight were chosen on the
validation users; those of RecVAE + PIA are `benchmark/sized_config.py`'s.
"""

from piavae_jax.config import ExperimentConfig
from piavae_jax.presets import preset


def get_config() -> ExperimentConfig:
    config = preset("recvae_pia")
    config.name = "best-ml1m"
    config.data.path = "data/ml1m"
    config.pia.weight, config.pia.scale, config.pia.patience = 0.02, 1.0, 10
    config.training.batch_size = 250
    config.training.epochs, config.training.early_stopping = 60, 10
    config.fusion.linear = "edlae"
    config.fusion.dropout, config.fusion.regularization, config.fusion.activity_exponent = 0.5, 200.0, 0.5
    return config
