"""The map of held-out users: where each is, how much history they have, some of their items."""

from typing import Any, NamedTuple

import numpy as np

from piavae_jax.data.csr import CSR
from piavae_jax.evaluation import UserMetrics
from piavae_jax.report.charts import MapPoint, Shade, place_points, shades_of
from piavae_jax.report.projection import project
from piavae_jax.training.session import SELECTION_METRIC

MAX_USERS = 2_000
_WIDTH = 640
_ITEMS = 6
_CHOICES = 30


class UserMap(NamedTuple):
    """What the template draws, and what the script shows of a user."""

    points: list[MapPoint]
    shades: list[Shade]
    method: str
    width: int
    height: int
    details: dict[str, Any]
    """For the script: `titles`; a list for each point with user, numbers of items shown and held out, nDCG@100 and
    indices of some titles; and `choices`, points by the title that they have in common."""
    choices: list[str]
    """Titles to choose from."""


def make_map(means: np.ndarray, users: UserMetrics, rows: CSR, names: list[str], train_users: np.ndarray) -> UserMap:
    """Draw V users, or `MAX_USERS` of them.

    Args:
      means: float32[V, D], where they are in latent space.
      users: their results.
      rows: what the model was shown of them.
      names: I titles.
      train_users: int[I], popularity.
    """
    generator = np.random.default_rng(0)
    drawn = np.sort(generator.permutation(len(means))[:MAX_USERS])
    projection = project(means[drawn])
    placed, height = place_points(projection.points, size=_WIDTH)
    history = rows.lengths[drawn]
    parts, shades = shades_of(history)
    titles: dict[int, int] = {}
    details = []
    for row in drawn:
        items = generator.permutation(rows.row(row))[:_ITEMS]
        quality = users[SELECTION_METRIC][row]
        details.append(
            [
                str(users.users[int(row)]),
                int(users.num_input[row]),
                int(users.num_target[row]),
                None if np.isnan(quality) else round(float(quality), 4),
                [titles.setdefault(int(item), len(titles)) for item in items],
            ]
        )
    popular = [int(item) for item in np.argsort(-train_users, kind="stable")[:_CHOICES]]
    return UserMap(
        points=[MapPoint(round(x, 1), round(y, 1), int(part)) for (x, y), part in zip(placed, parts, strict=True)],
        shades=shades,
        method=projection.method,
        width=_WIDTH,
        height=int(height),
        details={
            "titles": [names[item] for item in titles],
            "users": details,
            "choices": [[n for n, row in enumerate(drawn) if item in rows.row(row)] for item in popular],
        },
        choices=[names[item] for item in popular],
    )
