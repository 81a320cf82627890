"""Losses that compare a user's positives with all other items: WARP and LambdaRank, over the full list."""

from piavae_jax.ranking_losses.lambdarank import lambdarank_loss
from piavae_jax.ranking_losses.warp import warp_loss

__all__ = ["lambdarank_loss", "warp_loss"]
