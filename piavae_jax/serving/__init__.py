"""From a run folder to recommendations: for a few users at once, or for all customers in a batch job."""

from piavae_jax.serving.histories import Histories
from piavae_jax.serving.recommender import Recommender

__all__ = ["Histories", "Recommender"]
