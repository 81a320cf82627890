"""What models, baselines and items are called on the page."""

import polars as pl

from piavae_jax.analysis.harness.labels import MODEL_NAMES
from piavae_jax.config import ExperimentConfig
from piavae_jax.training.fusion import fuses


def model_name(config: ExperimentConfig) -> str:
    """Such as "Multi-VAE + PIA", or "3 x RecVAE + EDLAE" for a fused one."""
    name = MODEL_NAMES[config.model.name]
    if config.pia.enabled:
        name += " + PIA"
    if not fuses(config):
        return name
    if config.fusion.members > 1:
        name = f"{config.fusion.members} x {name}"
    return name if config.fusion.linear == "none" else f"{name} + {config.fusion.linear.upper()}"


def item_names(vocabulary: pl.DataFrame) -> list[str]:
    """I titles, or ids where there is no title; `vocabulary` as `RunFolder` has it."""
    return vocabulary.select(pl.coalesce("title", pl.col("item_id").cast(pl.String))).to_series().to_list()


def has_titles(vocabulary: pl.DataFrame) -> bool:
    """Whether any item has a title."""
    return vocabulary["title"].null_count() < vocabulary.height
