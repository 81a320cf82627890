"""The command `bin/prepare.py`: a published data set, a table or a generated log in, a prepared data set out."""

from piavae_jax.data.prepare.command import main

__all__ = ["main"]
