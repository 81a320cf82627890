"""Learning curves of a run as a picture."""

from pathlib import Path
from typing import Any

from piavae_jax.errors import UserError

_TERMS = {"nll": "negative log-likelihood", "kl": "KL", "anchor": "anchor loss"}


def draw_curves(records: list[dict[str, Any]], path: Path, *, title: str) -> None:
    """Draw validation metrics, loss terms and their weights over epochs into a PNG.

    Raises:
      UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("learning curves need matplotlib; install it with: pip install 'piavae-jax[plots]'") from error
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    figure.suptitle(title)
    quality, terms, weights = figure.subplots(1, 3)
    epochs = [record["epoch"] for record in records]

    def plot(axes: Any, key: str, label: str) -> None:
        axes.plot(epochs, [record[key] for record in records], label=label)

    for key in records[0]:
        if key.startswith("validation/"):
            plot(quality, key, key.removeprefix("validation/"))
    quality.axvline(records[-1]["best_epoch"], color="grey", linewidth=0.8, linestyle="--", label="best epoch")
    quality.set(title="validation", xlabel="epoch", ylim=(0, None))
    for key, label in _TERMS.items():
        if key in records[0]:
            plot(terms, key, label)
    terms.set(title="loss terms, mean over users, unweighted", xlabel="epoch", yscale="log")
    plot(weights, "beta", "beta (KL)")
    if "anchor" in records[0]:
        plot(weights, "anchor_weight", "lambda_A (anchor)")
    weights.set(title="weights", xlabel="epoch", yscale="symlog", ylim=(0, None))
    for axes in (quality, terms, weights):
        axes.legend(fontsize="small", frameon=False)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
