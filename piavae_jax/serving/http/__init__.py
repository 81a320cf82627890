"""Recommendations over HTTP: an ASGI app with micro-batches, and a page for people."""

from piavae_jax.serving.http.app import make_app
from piavae_jax.serving.http.engine import Engine
from piavae_jax.serving.http.limits import Limits

__all__ = ["Engine", "Limits", "make_app"]
