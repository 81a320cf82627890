"""The best model on Amazon-book so far: WARP-VAE, without PIA, and RecVAE + PIA, fused late with EDLAE and WMF.

    python bin/prepare.py npz --input ../shared/data/amazon_book.npz --out data/amazon_book --heldout-users 5000
    python bin/train.py --config configs/best_amazon_book.py

Data: users with >= 5 items, 5,000 + 5,000 held-out users, seed 98765; 60,595 training users, 24,915 items.
Run time: an hour on two CPU cores with other work beside.
Test nDCG@100 / Recall@20 / Recall@50, one seed: .203 / .284 / .381; EDLAE alone .193 / .268 / .354, WMF alone .186 /
.265 / .365, WARP-VAE alone .185 / .255 / .348, RecVAE + PIA alone .166 / .231 / .325 (docs/results.md). EDLAE's and
WMF's settings, the weights, the shares of the VAEs (3/4 and 1/4), WARP-VAE's width and that it has no PIA here were
chosen on the validation users (.1996; with PIA .1992, without WMF .1971, without RecVAE .1983); its other settings come
from MovieLens-1M.
"""

from piavae_jax.config import ExperimentConfig, differences
from piavae_jax.presets import preset


def get_config() -> ExperimentConfig:
    config = preset("warpvae")
    config.name = "best-amazon_book"
    config.data.path = "data/amazon_book"
    config.model.latent_dim, config.training.activity_exponent = 1200, 0.0
    config.training.early_stopping = 5
    recvae = preset("recvae_pia")
    recvae.pia.weight, recvae.pia.scale = 0.02, 1.0
    recvae.training.epochs, recvae.training.early_stopping = 60, 5
    config.fusion.others = (differences(recvae, config),)
    config.fusion.linear = "edlae"
    config.fusion.dropout, config.fusion.regularization, config.fusion.activity_exponent = 0.5, 100.0, 0.25
    config.fusion.factors, config.fusion.factor_dim = "wmf", 512
    config.fusion.factor_regularization, config.fusion.factor_unobserved_weight = 0.003, 0.01
    return config
