"""The ranking metrics by name: "ndcg@100" is `ndcg_at_k` at cut-off 100."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import jax

from piavae_jax.errors import UserError
from piavae_jax.evaluation.ndcg import ndcg_at_k
from piavae_jax.evaluation.recall import recall_at_k

MetricFn: TypeAlias = Callable[[jax.Array, jax.Array, int], jax.Array]
"""`metric(hits: bool[B, K], num_targets: int32[B], k) -> float32[B]`, pure; NaN where a user has no held-out item."""

METRICS: Mapping[str, MetricFn] = MappingProxyType({"ndcg": ndcg_at_k, "recall": recall_at_k})

DEFAULT_METRICS = ("ndcg@100", "recall@20", "recall@50")
"""Those of the paper's Table 1."""


class Metric(NamedTuple):
    """A metric at a cut-off."""

    name: str
    """A key of `METRICS`."""
    k: int
    """Length of the list that counts."""

    @property
    def label(self) -> str:
        """The name that `parse_metrics` reads."""
        return f"{self.name}@{self.k}"

    def __call__(self, hits: jax.Array, num_targets: jax.Array) -> jax.Array:
        """float32[B], the value of each user; see `MetricFn`."""
        return METRICS[self.name](hits, num_targets, self.k)


def parse_metrics(labels: Sequence[str]) -> tuple[Metric, ...]:
    """Read labels such as "recall@20".

    Raises:
      UserError: if there is none, or one is repeated or not the name of a metric, `@` and a positive whole number.
    """
    if isinstance(labels, str) or not labels:
        raise UserError(f'metrics must be a list with at least one label, got {labels!r}: pass e.g. ["ndcg@100"]')
    if len(set(labels)) < len(labels):
        raise UserError(f"metrics must differ, got {', '.join(labels)}: name each once")
    return tuple(_parse_metric(label) for label in labels)


def _parse_metric(label: str) -> Metric:
    name, _, cutoff = label.partition("@")
    if name not in METRICS or not cutoff.isascii() or not cutoff.isdigit() or int(cutoff) < 1:
        known = " or ".join(METRICS)
        raise UserError(f'metric "{label}" must be {known}, "@" and a cut-off of at least 1, such as "ndcg@100"')
    return Metric(name, int(cutoff))
