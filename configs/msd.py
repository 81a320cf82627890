"""Multi-VAE + PIA on the Million Song taste profile with the paper's settings.

    python bin/prepare.py msd --download msd --out data/msd
    python bin/train.py --config configs/msd.py

Data: every play count, songs with >= 200 listeners, users with >= 20 songs, 50,000 + 50,000 held-out users (Liang et
al. 2018): 41,140 items.
Published test scores (Recall@20 / Recall@50 / nDCG@100): Multi-VAE .266 / .364 / .316, + PIA .275 / .372 / .326.
Run time and score here: not run here.
"""

from piavae_jax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = ExperimentConfig(name="msd")
    config.data.path = "data/msd"
    config.pia.weight = 2.0  # the paper chooses among 2, 4 and 8 on validation users
    return config
