"""Prepare a data set for training: `python bin/prepare.py --help`."""

from piavae_jax import cli
from piavae_jax.data.prepare import main

if __name__ == "__main__":
    cli.run(main)
