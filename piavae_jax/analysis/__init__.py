"""The paper's theory as pure functions on posteriors and decoders, and what trained models say to it."""

from piavae_jax.analysis.posteriors import batch_of, encode_rows, take
from piavae_jax.analysis.subject import ANALYSABLE, Subject, load_subject

__all__ = ["ANALYSABLE", "Subject", "batch_of", "encode_rows", "load_subject", "take"]
