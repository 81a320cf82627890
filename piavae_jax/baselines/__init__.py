"""Recommenders that are no VAE, to compare with."""

from piavae_jax.baselines.popularity import popularity_scores

__all__ = ["popularity_scores"]
