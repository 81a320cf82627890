"""What the paper reports, by data set: its Tables 1, 3 and 6, and Figure 2.

"On the Mechanisms of Collaborative Learning in VAE Recommenders". Data sets go by their names in `data.known.RAW`,
systems by theirs in `benchmark.registry.SYSTEMS`.
"""

from collections.abc import Mapping
from typing import NamedTuple

from piavae_jax.data.known import SPLITS


class Quality(NamedTuple):
    """Means over test users."""

    recall_20: float
    recall_50: float
    ndcg_100: float

    def by_label(self) -> dict[str, float]:
        """As the library labels metrics."""
        return {"ndcg@100": self.ndcg_100, "recall@20": self.recall_20, "recall@50": self.recall_50}


TABLE1: Mapping[str, Mapping[str, Quality]] = {
    "ml-20m": {
        "popularity": Quality(0.162, 0.235, 0.191),
        "ease": Quality(0.391, 0.521, 0.420),
        "mf": Quality(0.367, 0.498, 0.399),
        "wmf": Quality(0.362, 0.495, 0.389),
        "grals": Quality(0.376, 0.505, 0.401),
        "plrec": Quality(0.394, 0.527, 0.426),
        "warp": Quality(0.310, 0.448, 0.348),
        "lambdanet": Quality(0.395, 0.534, 0.427),
        "cdae": Quality(0.391, 0.523, 0.418),
        "ract": Quality(0.403, 0.543, 0.434),
        "multvae": Quality(0.395, 0.537, 0.426),
        "multvae_pia": Quality(0.408, 0.546, 0.437),
        "recvae": Quality(0.414, 0.553, 0.442),
        "recvae_pia": Quality(0.417, 0.556, 0.446),
    },
    "netflix": {
        "popularity": Quality(0.116, 0.175, 0.159),
        "ease": Quality(0.362, 0.445, 0.393),
        "mf": Quality(0.335, 0.422, 0.369),
        "wmf": Quality(0.321, 0.402, 0.349),
        "grals": Quality(0.335, 0.416, 0.365),
        "plrec": Quality(0.357, 0.441, 0.390),
        "warp": Quality(0.273, 0.360, 0.312),
        "lambdanet": Quality(0.352, 0.441, 0.386),
        "cdae": Quality(0.343, 0.428, 0.376),
        "ract": Quality(0.357, 0.450, 0.392),
        "multvae": Quality(0.351, 0.444, 0.386),
        "multvae_pia": Quality(0.360, 0.448, 0.392),
        "recvae": Quality(0.361, 0.452, 0.394),
        "recvae_pia": Quality(0.365, 0.454, 0.396),
    },
    "msd": {
        "popularity": Quality(0.043, 0.068, 0.058),
        "ease": Quality(0.333, 0.428, 0.389),
        "mf": Quality(0.258, 0.353, 0.314),
        "wmf": Quality(0.211, 0.312, 0.257),
        "grals": Quality(0.201, 0.275, 0.245),
        "plrec": Quality(0.286, 0.383, 0.344),
        "warp": Quality(0.162, 0.253, 0.210),
        "lambdanet": Quality(0.259, 0.355, 0.308),
        "cdae": Quality(0.188, 0.283, 0.237),
        "ract": Quality(0.268, 0.364, 0.319),
        "multvae": Quality(0.266, 0.364, 0.316),
        "multvae_pia": Quality(0.275, 0.372, 0.326),
        "recvae": Quality(0.276, 0.374, 0.326),
        "recvae_pia": Quality(0.278, 0.376, 0.329),
    },
}

FIGURE2_NDCG = (0.409, 0.426, 0.437)
"""Test nDCG@100 on ml-20m of Multi-VAE with clean input, masking, masking + PIA."""

TABLE6_SECONDS = {"ml-20m": (8.207, 9.516), "netflix": (22.193, 25.722)}
"""Training time of an epoch of Multi-VAE without and with PIA, on an NVIDIA A10G."""


def identify(*, train_users: int, items: int) -> str | None:
    """The data set of the paper that has so many training users and items after its split; None for others."""
    return next((split.raw for split in SPLITS if (split.train_users, split.vocabulary) == (train_users, items)), None)
