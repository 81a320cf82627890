"""All that the page says, measured."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from piavae_jax.data.manifest import Manifest
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.evaluation import Comparison
from piavae_jax.report.checks import (
    Check,
    check_baselines,
    check_collapse,
    check_overfitting,
    check_popularity,
    check_users,
)
from piavae_jax.report.latent import Latent, Neighbours, locate, nearest_items, spread_over_popularity
from piavae_jax.report.lists import ListStatistics, describe_lists, draw_history, rank_items
from piavae_jax.report.names import item_names, model_name
from piavae_jax.report.samples import SampleUser, sample_users
from piavae_jax.report.systems import System, compare_with_baselines, evaluate, scorers_of
from piavae_jax.report.training_history import History, read_history
from piavae_jax.report.user_map import UserMap, make_map
from piavae_jax.training.restore import TrainedModel
from piavae_jax.training.results import make_run_evaluator
from piavae_jax.training.run_folder import RunFolder
from piavae_jax.training.session import SELECTION_METRIC

LIST_LENGTH = 20
"""K of the lists that coverage and its relatives are of."""
HISTORY = "the users' own histories"
_SHOWN = 10
_NEIGHBOURS, _ITEMS, _FEWEST = 5, 10, 20


class Findings(NamedTuple):
    """What was measured of a run."""

    run: RunFolder
    name: str
    """Of the model, such as "Multi-VAE + PIA"."""
    manifest: Manifest
    """Of the data set."""
    names: list[str]
    """I titles, or ids."""
    num_parameters: int
    """Of scoring and, with PIA, of the anchors."""
    history: History
    systems: list[System]
    """The run, then baselines."""
    comparisons: list[Comparison]
    lists: dict[str, ListStatistics]
    """By system, and of the users' own histories."""
    checks: list[Check]
    latent: Latent
    user_map: UserMap
    neighbours: list[Neighbours]
    samples: list[SampleUser]

    @property
    def train_users(self) -> np.ndarray:
        """int64[I], training users of each item."""
        return self.run.vocabulary["train_users"].to_numpy()


def find(trained: TrainedModel, dataset: PreparedDataset, *, tell: Callable[[str], None]) -> Findings:
    """Measure everything on the test users.

    Args:
      trained: a restored run.
      dataset: the data set that it was trained on, or another with the same items.
      tell: is called with what comes next.

    Raises:
      UserError: run and data set do not belong together.
    """
    run, held_out = trained.run, dataset.test
    evaluator = make_run_evaluator(run, dataset, split="test")
    name, names, train_users = model_name(trained), item_names(run.vocabulary), run.catalogue.train_users
    batch_size = run.config.evaluation.batch_size
    tell("fitting baselines")
    scorers = scorers_of(trained, name, dataset)
    tell("evaluating")
    systems = evaluate(scorers, evaluator)
    comparisons = compare_with_baselines(systems)
    tell("ranking")
    ranked = {
        scorer.name: rank_items(scorer, held_out.input, k=LIST_LENGTH, batch_size=batch_size) for scorer in scorers
    }
    ranked[HISTORY] = draw_history(held_out.input, k=LIST_LENGTH)
    lists = {of: describe_lists(items, train_users, run.num_train_users) for of, items in ranked.items()}
    tell("encoding users")
    latent = locate(trained, held_out.input, batch_size=batch_size)
    tell("drawing the map")
    users = systems[0].users
    user_map = make_map(np.asarray(latent.users.mean), users, held_out.input, names, train_users)
    history = read_history(run)
    return Findings(
        run=run,
        name=name,
        manifest=dataset.manifest,
        names=names,
        num_parameters=sum(leaf.size for leaf in jax.tree.leaves(trained.params)),
        history=history,
        systems=systems,
        comparisons=comparisons,
        lists=lists,
        checks=[
            *check_baselines(comparisons),
            check_users(systems[0].intervals[SELECTION_METRIC]),
            check_collapse(latent),
            *check_overfitting(history.records),
            *check_popularity(lists[name], lists[HISTORY], k=LIST_LENGTH),
        ],
        latent=latent,
        user_map=user_map,
        neighbours=_neighbours(latent, train_users),
        samples=sample_users(users, held_out, ranked[name][:, :_SHOWN], train_users),
    )


def _neighbours(latent: Latent, train_users: np.ndarray) -> list[Neighbours]:
    items = spread_over_popularity(train_users, count=_ITEMS, at_least=_FEWEST)
    among = train_users >= min(_FEWEST, int(train_users[items].min()))  # what few users have was hardly trained
    return nearest_items(latent.items, items, k=_NEIGHBOURS, among=among)
