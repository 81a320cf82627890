"""The results of a run on held-out users: measured, written beside the run, shown."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp

from piavae_jax.baselines import popularity_scores
from piavae_jax.config import ExperimentConfig
from piavae_jax.data.json_files import write_json
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.errors import UserError
from piavae_jax.evaluation import ITEM_AXIS, Evaluator, ScoreFn, UserMetrics, write_user_metrics
from piavae_jax.training.layout import split_items
from piavae_jax.training.run_folder import RunFolder
from piavae_jax.training.session import make_evaluator, make_mesh

FOLDER = "results"
SPLITS = ("validation", "test")


def evaluate_run(
    run: RunFolder,
    score: ScoreFn,
    params: Any,
    dataset: PreparedDataset,
    *,
    split: str = "test",
    item_shards: int = 1,
) -> tuple[UserMetrics, UserMetrics]:
    """Evaluate a trained model, and popularity beside it, on the validation or test users of a data set.

    Parameters that are split over `item_shards` devices along items stay split, and so do the scores of both.
    Popularity comes from the run's own vocabulary, so that the data set's training rows are not read.

    Returns:
      Per-user results of the model and of popularity.

    Raises:
      UserError: the data set has another item vocabulary than the run.
    """
    evaluator = make_run_evaluator(run, dataset, split=split, item_shards=item_shards)
    return evaluator.evaluate(score, params), evaluate_popularity(run, evaluator)


def make_run_evaluator(run: RunFolder, dataset: PreparedDataset, *, split: str, item_shards: int = 1) -> Evaluator:
    """The evaluator of a run's config on the validation or test users of a data set.

    `item_shards` is the number of devices that the parameters are split over along items.

    Raises:
      UserError: the data set has another item vocabulary than the run.
    """
    check_vocabulary(run, dataset)
    heldout = {"validation": dataset.validation, "test": dataset.test}[split]
    mesh = _mesh(run.config, item_shards=item_shards)
    return make_evaluator(run.config, heldout, dataset, mesh)


def evaluate_popularity(run: RunFolder, evaluator: Evaluator) -> UserMetrics:
    """Evaluate the popularity of the items among the users that a run was trained on."""
    counts = jnp.asarray(run.vocabulary["train_users"].to_numpy(), jnp.float32)
    if evaluator.mesh.shape.get(ITEM_AXIS, 1) > 1:
        counts = split_items(counts, evaluator.mesh)
    return evaluator.evaluate(popularity_scores, counts)


def _mesh(config: ExperimentConfig, *, item_shards: int) -> Any:
    try:
        return make_mesh(config, item_shards=item_shards)
    except UserError:  # a run trained on more devices than there are here is evaluated on one
        return None


def check_vocabulary(run: RunFolder, dataset: PreparedDataset) -> None:
    """Refuse to evaluate a run on items that it does not know by number.

    Raises:
      UserError: the item vocabularies differ.
    """
    if run.vocabulary_digest != dataset.vocabulary_digest:
        raise UserError(
            f"{run.path} was trained on the data set {run.data_name!r} with {run.vocabulary.height} items, and "
            f"{dataset.path} has another item vocabulary ({dataset.num_items} items); pass the data set of the run"
        )


def write_results(run: RunFolder, users: UserMetrics, dataset: PreparedDataset, *, split: str) -> Path:
    """Write a run's means as `results/SPLIT.json` and per-user values as `results/SPLIT_users.parquet`.

    Returns:
      The folder.
    """
    folder = run.path / FOLDER
    summary: dict[str, Any] = {"run": run.config.name, "data": dataset.name, "split": split}
    for metric, value in users.summaries().items():
        summary[metric] = {
            "mean": value.mean,
            "standard_error": value.standard_error,
            "users": value.users,
            "users_without_targets": value.users_without_targets,
        }
    write_user_metrics(users, users_file(run.path, split))
    write_json(folder / f"{split}.json", summary)
    return folder


def users_file(workdir: Path, split: str) -> Path:
    """Where the per-user values of a run on a split are kept."""
    return workdir / FOLDER / f"{split}_users.parquet"
