"""The best model on Amazon-CD so far: WARP-VAE + PIA, unmasked, and RecVAE + PIA, fused late with EDLAE and WMF.

    python bin/prepare.py npz --input ../shared/data/amazon_cd.npz --out data/amazon_cd --heldout-users 2000
    python bin/train.py --config configs/best_amazon_cd.py

Data: users with >= 5 items, 2,000 + 2,000 held-out users, seed 98765; 18,947 training users, 18,395 items.
Run time: 20 minutes on two CPU cores with other work beside.
Test nDCG@100 / Recall@20 / Recall@50, one seed: .181 / .221 / .318; WMF alone .174 / .212 / .309, EDLAE alone .170 /
.209 / .297 (docs/results.md). EDLAE's and WMF's settings, the weights, the shares of the VAEs (3/4 and 1/4), WARP-VAE's
width and that nothing is masked from it were chosen on the validation users (.1765, with a mask .1760, without WMF
.172); its other settings come from MovieLens-1M.
"""

from piavae_jax.config import ExperimentConfig, differences
from piavae_jax.presets import preset


def get_config() -> ExperimentConfig:
    config = preset("warpvae_pia")
    config.name = "best-amazon_cd"
    config.data.path = "data/amazon_cd"
    config.model.latent_dim, config.training.activity_exponent = 1200, 0.0
    config.mask.kind, config.mask.keep_prob = "bernoulli", 1.0
    config.training.early_stopping = 8
    recvae = preset("recvae_pia")
    recvae.pia.weight, recvae.pia.scale = 0.02, 1.0
    recvae.training.epochs, recvae.training.early_stopping = 60, 8
    config.fusion.others = (differences(recvae, config),)
    config.fusion.linear = "edlae"
    config.fusion.dropout, config.fusion.regularization, config.fusion.activity_exponent = 0.5, 100.0, 0.25
    config.fusion.factors, config.fusion.factor_dim = "wmf", 512
    config.fusion.factor_regularization, config.fusion.factor_unobserved_weight = 0.003, 0.03
    return config
