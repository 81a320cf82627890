"""The settings of every model, the published ones where there are any, as changes to the defaults of a config.

The defaults are those of Multi-VAE + PIA.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from piavae_jax.config import ExperimentConfig
from piavae_jax.errors import UserError

Preset: TypeAlias = Callable[[ExperimentConfig], None]
"""Changes a config in place."""


def preset(name: str) -> ExperimentConfig:
    """A config with the published settings of a model on large data; name and data are left to the caller.

    Args:
      name: one of `PRESETS`; with `_pia` for alignment at the paper's settings.

    Raises:
      UserError: there is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}; the default is multvae_pia")
    config = ExperimentConfig(name=name)
    config.pia.enabled = name.endswith("_pia")
    PRESETS[name](config)
    return config


def _multvae(config: ExperimentConfig) -> None:
    """Liang et al. (2018): the defaults."""


def _warpvae(config: ExperimentConfig) -> None:
    """Ours: a wide linear VAE that ranks. The settings were chosen on the validation users of MovieLens-1M."""
    config.model.hidden, config.model.latent_dim = (), 600
    config.model.reconstruction = "warp"
    config.mask.kind = "per_user"
    config.kl.schedule, config.kl.cap = "constant", 0.01
    config.pia.weight, config.pia.scale = 0.5, 1.0
    config.optimizer.learning_rate, config.optimizer.l2 = 2e-3, 1e-5
    config.training.epochs, config.training.activity_exponent = 80, 0.75


def _recvae(config: ExperimentConfig) -> None:
    """Shenbin et al. (2020), on ML-20M; gamma is 0.0035 on Netflix."""
    config.model.name = "recvae"
    config.model.hidden = (600,) * 5
    config.prior.kind = "composite"
    config.kl.schedule, config.kl.cap, config.kl.per_user = "constant", 0.005, True
    config.alternation.encoder_passes, config.alternation.decoder_passes = 3, 1
    config.optimizer.learning_rate = 5e-4
    config.training.epochs = 50


def _hvamp(config: ExperimentConfig) -> None:
    """Kim and Suh (2019), H+Vamp (gated), on Netflix: 383,435 training users, 1,918 steps an epoch."""
    config.model.name = "hvamp"
    config.model.hidden = (600, 600)
    config.prior.pseudo_inputs = 1000
    config.kl.cap, config.kl.total_steps = 0.3, round(100 * 1918 / 0.3)  # at the cap after 100 epochs
    config.optimizer.learning_rate = 5e-4
    config.training.batch_size = 200
    config.training.epochs, config.training.early_stopping = 400, 50


def _multidae(config: ExperimentConfig) -> None:
    """Liang et al. (2018)."""
    config.model.name = "multidae"
    config.model.hidden = (200,)
    config.optimizer.l2 = 0.01 / 500


def _cdae(config: ExperimentConfig) -> None:
    """Wu et al. (2016), with the likelihood of Liang et al. (2018)."""
    _multidae(config)
    config.model.name = "cdae"


def _ract(config: ExperimentConfig) -> None:
    """Lobel et al. (2020)."""
    config.model.name = "ract"
    config.training.epochs = 200


def _lambdanet(config: ExperimentConfig) -> None:
    """LambdaNet as in Lobel et al. (2020): ten epochs of LambdaRank from a Multi-VAE."""
    config.model.name = "lambdanet"
    config.stages.pretraining = 200
    config.training.epochs = 210


def _warp(config: ExperimentConfig) -> None:
    """WARP as in Lobel et al. (2020)."""
    config.model.name = "warp"
    config.model.hidden = (200,)
    config.optimizer.l2 = 1e-5
    config.training.epochs = 15


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "multvae": _multvae,
        "multvae_pia": _multvae,
        "warpvae": _warpvae,
        "warpvae_pia": _warpvae,
        "recvae": _recvae,
        "recvae_pia": _recvae,
        "hvamp": _hvamp,
        "multidae": _multidae,
        "cdae": _cdae,
        "ract": _ract,
        "lambdanet": _lambdanet,
        "warp": _warp,
    }
)
