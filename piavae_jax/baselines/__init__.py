"""Recommenders that are no VAE, to compare with."""

from piavae_jax.baselines.baseline import Baseline, recommend
from piavae_jax.baselines.ease import ease
from piavae_jax.baselines.edlae import edlae
from piavae_jax.baselines.full_rank import full_rank_scores
from piavae_jax.baselines.grals import grals
from piavae_jax.baselines.low_rank import low_rank_scores
from piavae_jax.baselines.mf import mf
from piavae_jax.baselines.plrec import plrec
from piavae_jax.baselines.popularity import popularity, popularity_scores
from piavae_jax.baselines.pruning import PrunedWeights, prune, pruned_scores
from piavae_jax.baselines.registry import BASELINES
from piavae_jax.baselines.selection import Choice, choose
from piavae_jax.baselines.wmf import WMFWeights, dense_wmf_scores, wmf, wmf_scores

__all__ = [
    "BASELINES",
    "Baseline",
    "Choice",
    "PrunedWeights",
    "WMFWeights",
    "choose",
    "dense_wmf_scores",
    "ease",
    "edlae",
    "full_rank_scores",
    "grals",
    "low_rank_scores",
    "mf",
    "plrec",
    "popularity",
    "popularity_scores",
    "prune",
    "pruned_scores",
    "recommend",
    "wmf",
    "wmf_scores",
]
