"""Any model at its published settings, where there are any, for large data: ML-20M, Netflix, Million Song.

    python bin/train.py --config configs/published.py:recvae --config.data.path=data/ml20m --config.name=ml20m-recvae

After the colon: multvae, multvae_pia, warpvae, warpvae_pia, recvae, recvae_pia, hvamp, multidae, cdae, ract, lambdanet
or warp; their settings and sources are in piavae_jax/presets.py.
Data, run time and score: not run here on that data.
"""

from piavae_jax.config import ExperimentConfig
from piavae_jax.presets import preset


def get_config(name: str = "multvae_pia") -> ExperimentConfig:
    return preset(name)
