"""What models, baselines and items are called on the page."""

import polars as pl

from piavae_jax.analysis.harness.labels import model_label
from piavae_jax.config import ExperimentConfig
from piavae_jax.training.fusion import factors_in, kinds_of
from piavae_jax.training.restore import TrainedModel


def model_name(trained: TrainedModel) -> str:
    """Such as "Multi-VAE + PIA", or "3 x RecVAE + EDLAE" for a fused one."""
    config = trained.run.config
    parts = [_kind_name(kind, config.fusion.members) for kind in kinds_of(config)]
    others = [config.fusion.linear, factors_in(config.fusion, trained.params)]
    return " + ".join([*parts, *(name.upper() for name in others if name != "none")])


def _kind_name(kind: ExperimentConfig, members: int) -> str:
    name = model_label(kind.model) + " + PIA" * kind.pia.enabled
    return name if members == 1 else f"{members} x {name}"


def item_names(vocabulary: pl.DataFrame) -> list[str]:
    """I titles, or ids where there is no title; `vocabulary` as `RunFolder` has it."""
    return vocabulary.select(pl.coalesce("title", pl.col("item_id").cast(pl.String))).to_series().to_list()


def has_titles(vocabulary: pl.DataFrame) -> bool:
    """Whether any item has a title."""
    return vocabulary["title"].null_count() < vocabulary.height
