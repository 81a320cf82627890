"""The experiment for a data set of a given size: the published settings on large data, ours on small."""

from piavae_jax.config import ExperimentConfig
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.presets import preset

LARGE = 100_000
"""Training users from which on the published settings hold."""
MANY_ITEMS = 10_000
"""From here on WARP-VAE is wide, and a grid of a baseline, of which each point takes minutes, is climbed."""
_FEW_USERS = 10_000
_WIDE = 1200  # D of WARP-VAE for many items
_LEAST_STEPS = 8  # an epoch
_ANNEALED = 0.85  # share of the epochs after which beta has reached its cap: 171 of 200 for Liang et al. on ML-20M
_ANNEALED_PUBLISHED = {"hvamp": 100 / 400}  # otherwise, on large data
_PATIENCE = 300  # steps without a new best after which training stops: 30 epochs on MovieLens-1M
_LEAST_PATIENCE = 5  # epochs
_SMALL_EPOCHS = {"recvae": 60, "ract": 160, "lambdanet": 60, "warp": 100}
"""At most; a published number of epochs has too few updates where an epoch has few steps."""


def sized_config(dataset: PreparedDataset, name: str) -> ExperimentConfig:
    """The config of a preset for a data set's number of training users.

    Above `LARGE` it is the published one. Below, more epochs and early stopping make up for the fewer steps of each,
    PIA has the settings that were chosen on the validation users of MovieLens-1M (`configs/ml1m.py`), and batches get
    smaller on data that would fill no more than a few. The more steps an epoch has, the fewer epochs without a new best
    are waited for, and LambdaNet starts from nothing. KL annealing spans the same share of the epochs as published, on
    small data the same for all models. WARP-VAE is wider where there are many items, and its users count alike: chosen
    on the validation users of CiteULike-a and Amazon-CD.
    """
    users = dataset.train.num_rows
    config = preset(name)
    config.data.path = str(dataset.path)
    if config.model.reconstruction == "warp" and dataset.num_items >= MANY_ITEMS:
        config.model.latent_dim, config.training.activity_exponent = _WIDE, 0.0
    if users < LARGE:
        _make_small(config, users=users)
        config.training.batch_size = max(min(config.training.batch_size, users // _LEAST_STEPS), 1)
    steps, annealed = -(-users // config.training.batch_size), _ANNEALED
    if users >= LARGE:
        annealed = _ANNEALED_PUBLISHED.get(config.model.name, annealed)
    else:
        enough = max(-(-_PATIENCE // steps), _LEAST_PATIENCE)
        config.training.early_stopping = min(config.training.early_stopping, enough)
    config.kl.total_steps = max(round(annealed * config.training.epochs * steps / config.kl.cap), 1)
    return config


def _make_small(config: ExperimentConfig, *, users: int) -> None:
    config.training.early_stopping = 30
    if config.model.reconstruction == "warp":
        return  # its settings come from such data
    config.training.epochs = _SMALL_EPOCHS.get(config.model.name, 130)
    config.pia.weight, config.pia.scale, config.pia.patience = 0.5, 1.5, 10
    config.prior.pseudo_inputs = min(config.prior.pseudo_inputs, 500)
    if config.model.name == "recvae":
        # An epoch is four passes. Anchors start near zero, and too strong a pull collapses the posterior onto them.
        config.training.batch_size = 250 if users < _FEW_USERS else 500
        config.training.early_stopping = 10
        config.pia.weight, config.pia.scale = 0.02, 1.0
    if config.model.name == "lambdanet":
        config.stages.pretraining = 0
    if config.model.name == "ract":
        config.stages.pretraining, config.stages.critic = 100, 30
        config.training.early_stopping = 0  # while the critic learns, the actor stands still
