"""What models, baselines and items are called on the page."""

import polars as pl

from piavae_jax.analysis.harness.labels import MODEL_NAMES
from piavae_jax.config import ExperimentConfig
from piavae_jax.training.fusion import kinds_of


def model_name(config: ExperimentConfig) -> str:
    """Such as "Multi-VAE + PIA", or "3 x RecVAE + EDLAE" for a fused one."""
    fusion = config.fusion
    parts = [_kind_name(kind, fusion.members) for kind in kinds_of(config)]
    others = [name.upper() for name in (fusion.linear, fusion.factors) if name != "none"]
    return " + ".join([*parts, *others])


def _kind_name(kind: ExperimentConfig, members: int) -> str:
    name = MODEL_NAMES[kind.model.name] + " + PIA" * kind.pia.enabled
    return name if members == 1 else f"{members} x {name}"


def item_names(vocabulary: pl.DataFrame) -> list[str]:
    """I titles, or ids where there is no title; `vocabulary` as `RunFolder` has it."""
    return vocabulary.select(pl.coalesce("title", pl.col("item_id").cast(pl.String))).to_series().to_list()


def has_titles(vocabulary: pl.DataFrame) -> bool:
    """Whether any item has a title."""
    return vocabulary["title"].null_count() < vocabulary.height
