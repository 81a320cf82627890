"""The best model on Amazon-book so far: two narrow WARP-VAEs + PIA, fused late with EDLAE and WMF.

    python bin/prepare.py npz --input ../shared/data/amazon_book.npz --out data/amazon_book --heldout-users 5000
    python bin/train.py --config configs/best_amazon_book.py

Data: users with >= 5 items, 5,000 + 5,000 held-out users, seed 98765; 60,595 training users, 24,915 items.
Run time: half an hour a WARP-VAE on one busy CPU core, and ten minutes for EDLAE and WMF.
Test nDCG@100 / Recall@20 / Recall@50, one pair of seeds: .203 / .281 / .383; the two WARP-VAEs alone .188 / .262 /
.361, EDLAE alone .193 / .269 / .357, WMF alone .186 / .265 / .365 (docs/results.md). EDLAE's and WMF's settings, the
weights, WARP-VAE's mask and learning rate and that there are two of it were chosen on the validation users (.1999; one
WARP-VAE .1992, without WMF .1981; a wide WARP-VAE and RecVAE + PIA in their place .1996; five of them .1998; two of
1,200 dimensions .2007, which the test users do not tell from five, .2030 and .2038); its other settings come from
MovieLens-1M.
"""

from piavae_jax.config import ExperimentConfig
from piavae_jax.presets import preset


def get_config() -> ExperimentConfig:
    config = preset("warpvae_pia")
    config.name = "best-amazon_book"
    config.data.path = "data/amazon_book"
    config.model.latent_dim, config.training.activity_exponent = 200, 0.0
    config.mask.kind, config.optimizer.learning_rate = "length", 0.001
    config.kl.total_steps = 829_600  # beta stays near 0
    config.training.early_stopping = 5
    config.fusion.members = 2
    config.fusion.linear = "edlae"
    config.fusion.dropout, config.fusion.regularization, config.fusion.activity_exponent = 0.5, 100.0, 0.25
    config.fusion.factors, config.fusion.factor_dim = "wmf", 512
    config.fusion.factor_regularization, config.fusion.factor_unobserved_weight = 0.003, 0.01
    return config
