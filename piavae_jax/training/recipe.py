"""How a model is trained: its parameters, what minimises what, in which order; and how it scores."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from piavae_jax.evaluation import ScoreFn
from piavae_jax.models import HierarchicalModel, Model

LossFn: TypeAlias = Callable[..., tuple[jax.Array, Any]]
"""`loss_fn(params, batch, *, beta, anchor_weight, key) -> (loss: [B], NamedTuple of terms of [B])`; the key is
consumed."""


class Phase(NamedTuple):
    """One kind of pass over the training users."""

    name: str
    loss_fn: LossFn
    trained: tuple[str, ...]
    """Entries of the parameters that move; the others stay as they are."""
    optimizer: optax.GradientTransformation
    """Moves them; its state is the phase's own."""
    begin: Callable[[dict], dict] | None = None
    """What happens to the parameters before a pass, if anything. Must not give one array two names."""


class Recipe(NamedTuple):
    """A model in training as pure functions; what differs between Multi-VAE, RecVAE, RaCT and the others."""

    init: Callable[[jax.Array], dict]
    """`init(key) -> params`, a dictionary of trees; the key is consumed."""
    score: ScoreFn
    """Scores of all items; the same object for equal settings, so that what is compiled for it is found again."""
    phases: tuple[Phase, ...]
    passes: Callable[[int], tuple[str, ...]]
    """Names of the phases that make up an epoch, in order; epochs count from 1."""
    model: Model | HierarchicalModel
    """What `score` scores with, for those who ask for latent vectors."""
    item_axis: str | None = None
    """The mesh axis that items are split over, if any."""


def single_pass(name: str) -> Callable[[int], tuple[str, ...]]:
    """Epochs of one pass of one phase."""
    return lambda _: (name,)


def copy_entry(params: dict, *, source: str, target: str) -> dict:
    """Parameters with a copy of one entry under another name."""
    return {**params, target: jax.tree.map(jnp.copy, params[source])}
