"""What is analysed: a trained model with a Gaussian posterior, as pure functions and parameters."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax

from piavae_jax.config import ExperimentConfig
from piavae_jax.errors import UserError
from piavae_jax.models import Model
from piavae_jax.training import run_folder
from piavae_jax.training.programs import recipe_of
from piavae_jax.training.recipes import parts
from piavae_jax.training.restore import restore
from piavae_jax.training.run_folder import RunFolder
from piavae_jax.training.snapshots import Snapshots
from piavae_jax.types import Params

ANALYSABLE = ("multvae", "recvae", "ract", "lambdanet")
"""The models whose latent is one Gaussian of the row: others have no posterior, or two layers of them."""


class Subject(NamedTuple):
    """A model at its best epoch; the functions of this package need no more of it than `model` and `params`."""

    name: str
    """What plots and tables call it."""
    model: Model
    params: Params
    """`encoder`, `decoder` and, with PIA, `anchors`."""
    config: ExperimentConfig
    mask: parts.Mask
    """The mask of training, `mask(batch, key)`; of complementary views, that of either at `keep_prob` 0.5."""
    beta: float
    """The weight of the KL term in the best epoch; with `config.kl.per_user` it is multiplied by n."""
    anchor_weight: float
    """lambda_A in the best epoch; 0 without PIA."""
    run: RunFolder

    @property
    def anchors(self) -> jax.Array | None:
        """float32[I, D], the item anchors; None without PIA."""
        return self.params.get("anchors")


def load_subject(workdir: Path, *, name: str | None = None) -> Subject:
    """Restore what is analysed from a run folder; no data set is needed.

    Args:
      workdir: a run of one model, not fused.
      name: for plots and tables; the config's by default.

    Raises:
      UserError: the folder is no run, has no checkpoint, holds a fused model, or one without a Gaussian posterior.
    """
    run = run_folder.load(workdir)
    _require_posterior(run)
    trained = restore(workdir)
    beta, anchor_weight = _weights(run)
    return Subject(
        name=name or run.config.name,
        model=parts.build_body(run.config, run.catalogue.num_items),
        params=trained.params,
        config=run.config,
        mask=parts.make_mask(run.config, run.catalogue),
        beta=beta,
        anchor_weight=anchor_weight,
        run=run,
    )


def snapshots_of(subject: Subject) -> Iterator[tuple[int, Subject]]:
    """The model after each epoch that the run kept (`config.training.snapshot_epochs`), ascending.

    Raises:
      UserError: the run kept none, or one is damaged.
    """
    run = subject.run
    records = {record["epoch"]: record for record in run_folder.read_metrics(run)}
    recipe = recipe_of(run.config, run.catalogue)
    with Snapshots(run.path, read_only=True) as snapshots:
        for epoch in snapshots.epochs:
            if epoch not in records:  # a run that was killed goes on before it
                continue
            beta, anchor_weight = (float(records[epoch][name]) for name in ("beta", "anchor_weight"))
            params = snapshots.restore(epoch, recipe, run.config)
            yield epoch, subject._replace(params=params, beta=beta, anchor_weight=anchor_weight)


def _require_posterior(run: RunFolder) -> None:
    model = run.config.model.name
    if run.config.fusion.fuses:
        raise UserError(
            f"{run.path} is a fused model and its scores have no latent space; pass one of the runs in its members/"
        )
    if model not in ANALYSABLE:
        raise UserError(
            f"{run.path} is of model {model!r}, which has no single Gaussian posterior to analyse; "
            f"pass a run of {', '.join(ANALYSABLE)}"
        )


def _weights(run: RunFolder) -> tuple[float, float]:
    """beta and lambda_A of the best epoch, from the run's own records."""
    records = run_folder.read_metrics(run)
    if not records:
        raise UserError(f"{run.metrics_file} has no epochs, so that beta is unknown; train the run again")
    best = next((record for record in records if record["epoch"] == records[-1]["best_epoch"]), records[-1])
    return float(best["beta"]), float(best["anchor_weight"])
