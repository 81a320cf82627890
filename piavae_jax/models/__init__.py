"""Masked encoders and multinomial decoders as pure functions."""

from piavae_jax.models.anchors import init_anchors
from piavae_jax.models.model import Model
from piavae_jax.models.multvae import multvae
from piavae_jax.models.scoring import make_score_fn

__all__ = ["Model", "init_anchors", "make_score_fn", "multvae"]
