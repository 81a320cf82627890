"""Multi-VAE + PIA on the Netflix Prize with the paper's settings.

    python bin/prepare.py netflix --input nf_prize_dataset.tar.gz --out data/netflix
    python bin/train.py --config configs/netflix.py

Data: ratings >= 4, users with >= 5, 40,000 + 40,000 held-out users (Liang et al. 2018): 17,769 items.
Published test scores (Recall@20 / Recall@50 / nDCG@100): Multi-VAE .351 / .444 / .386, + PIA .360 / .448 / .392.
Run time and score here: not run here.
"""

from piavae_jax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = ExperimentConfig(name="netflix")
    config.data.path = "data/netflix"
    config.pia.weight = 2.0  # the paper chooses among 2, 4 and 8 on validation users
    return config
