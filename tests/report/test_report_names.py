"""What models are called on the page."""

from pathlib import Path

import polars as pl
import pytest

from piavae_jax.config import ExperimentConfig, apply_settings
from piavae_jax.report.names import model_name
from piavae_jax.training.fusion import FusedParams
from piavae_jax.training.restore import TrainedModel
from piavae_jax.training.run_folder import RunFolder

RECVAE = {"model.name": "recvae", "model.hidden": (600, 600), "pia.enabled": False}
FUSED = {"fusion.others": (RECVAE,), "fusion.linear": "edlae", "fusion.factors": "wmf"}


@pytest.mark.parametrize(
    ("settings", "params", "name"),
    [
        ({}, {}, "Multi-VAE + PIA"),
        ({"model.reconstruction": "warp", "fusion.members": 3}, FusedParams((), None, 0.0), "3 x WARP-VAE + PIA"),
        (FUSED, FusedParams((), {}, 4.0, factors={}, factor_weight=2.0), "Multi-VAE + PIA + RecVAE + EDLAE + WMF"),
        (FUSED, FusedParams((), {}, 4.0), "Multi-VAE + PIA + RecVAE + EDLAE"),
    ],
    ids=["single", "members", "with factors", "factors left out"],
)
def test_a_model_is_named_by_what_it_scores_with(settings, params, name):
    config = apply_settings(ExperimentConfig(name="run"), {"data.path": "d", **settings})
    run = RunFolder(Path("runs"), config, pl.DataFrame(), "d", "digest", 9)
    assert model_name(TrainedModel(run, lambda params, batch: batch, params)) == name
