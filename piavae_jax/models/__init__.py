"""Masked encoders and multinomial decoders as pure functions."""

from piavae_jax.models.anchors import init_anchors
from piavae_jax.models.autoencoder import linear_autoencoder, multidae, point_mass
from piavae_jax.models.cdae import CDAE, cdae
from piavae_jax.models.critic import FeatureNorm, critic, critic_features, init_critic, norm_loss
from piavae_jax.models.hierarchical import HierarchicalModel, make_hierarchical_score_fn
from piavae_jax.models.hvamp import hvamp
from piavae_jax.models.model import Model
from piavae_jax.models.multvae import multvae
from piavae_jax.models.pseudo_inputs import init_pseudo_inputs, pseudo_rows
from piavae_jax.models.recvae import recvae
from piavae_jax.models.scoring import make_score_fn

__all__ = [
    "CDAE",
    "FeatureNorm",
    "HierarchicalModel",
    "Model",
    "cdae",
    "critic",
    "critic_features",
    "hvamp",
    "init_anchors",
    "init_critic",
    "init_pseudo_inputs",
    "linear_autoencoder",
    "make_hierarchical_score_fn",
    "make_score_fn",
    "multidae",
    "multvae",
    "norm_loss",
    "point_mass",
    "pseudo_rows",
    "recvae",
]
