"""What runs are called in pictures and tables: by what their configs say, and by their names where that is the same."""

from collections import Counter
from collections.abc import Sequence

from piavae_jax.config import ExperimentConfig, ModelConfig
from piavae_jax.training.run_folder import RunFolder

_NAMES = {
    "multvae": "Multi-VAE",
    "recvae": "RecVAE",
    "hvamp": "H+Vamp",
    "multidae": "Multi-DAE",
    "cdae": "CDAE",
    "ract": "RaCT",
    "lambdanet": "LambdaNet",
    "warp": "WARP",
}
_RANKING = {"warp": "WARP", "lambdarank": "LambdaRank"}
"""The losses that take the likelihood's place."""


def model_label(model: ModelConfig) -> str:
    """Such as "Multi-VAE", or "RecVAE, LambdaRank" for one that ranks; Multi-VAE that WARP trains is WARP-VAE."""
    if (model.name, model.reconstruction) == ("multvae", "warp"):
        return "WARP-VAE"
    name, loss = _NAMES[model.name], _RANKING.get(model.reconstruction)
    return f"{name}, {loss}" if loss else name


def label_runs(runs: Sequence[RunFolder]) -> dict[str, RunFolder]:
    """Give each run a label of its own: its setting, such as "clean input", "masking" or "masking + PIA".

    The model is named where models differ, the run, or its path, where labels would be the same.
    """
    several = len({model_label(run.config.model) for run in runs}) > 1
    labels = [_describe(run.config, model=several) for run in runs]
    for detail in (_name, _path):
        counts = Counter(labels)
        labels = [
            f"{label} ({detail(run)})" if counts[label] > 1 else label for label, run in zip(labels, runs, strict=True)
        ]
    return dict(zip(labels, runs, strict=True))


def describe_setting(config: ExperimentConfig) -> str:
    """The paper's setting: "clean input" or "masking", with " + PIA" where anchors align it."""
    mask = config.mask
    if mask.kind != "bernoulli":
        text = f"{mask.kind.replace('_', '-')} masking"
    else:
        text = "clean input" if mask.keep_prob == 1 else "masking"
    return f"{text} + PIA" if config.pia.enabled else text


def _describe(config: ExperimentConfig, *, model: bool) -> str:
    setting = describe_setting(config)
    return f"{model_label(config.model)}, {setting}" if model else setting


def _name(run: RunFolder) -> str:
    return run.config.name


def _path(run: RunFolder) -> str:
    return str(run.path)
