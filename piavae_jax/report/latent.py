"""Where a trained autoencoder puts held-out users and items."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax.analysis import active_units, encode_rows, unit_activity
from piavae_jax.config import ExperimentConfig
from piavae_jax.data.csr import CSR
from piavae_jax.models import Model, cdae, hvamp, linear_autoencoder, multidae
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.recipes import parts
from piavae_jax.training.restore import TrainedModel
from piavae_jax.types import FactoredLogits, Params, Posterior


class Latent(NamedTuple):
    """Users and items in a model's latent spaces."""

    users: Posterior
    """NumPy arrays float32[V, D]; the log variance is -inf where the model has a code instead of a posterior."""
    items: np.ndarray
    """float32[I, D] anchors, or float32[I, H] columns of the decoder's last layer."""
    has_anchors: bool

    @property
    def has_posterior(self) -> bool:
        """Whether users are distributions."""
        return bool(np.isfinite(self.users.logvar).all())

    @property
    def active_units(self) -> int:
        """Latent units whose mean varies over the users."""
        return active_units(self.users)

    @property
    def kl(self) -> float:
        """Nats: mean KL of the users' posteriors from N(0, I)."""
        return float(jnp.sum(unit_activity(self.users).kl))


def locate(trained: TrainedModel, rows: CSR, *, batch_size: int = 500) -> Latent:
    """Encode V users' rows without a mask, and find the vectors of items; of a fused model by its first member.

    Args:
      trained: a restored run.
      rows: V users, what the model is shown of them.
      batch_size: users at a time.
    """
    config = trained.run.config
    model = body_of(config, trained.run.catalogue)
    params = trained.params.members[0] if config.fusion.fuses else trained.params
    has_anchors = "anchors" in params
    if has_anchors:
        items = np.asarray(params["anchors"])
    else:
        items = np.asarray(model.decode_factored(params, jnp.zeros((1, model.latent_dim))).kernel).T
    return Latent(encode_rows(model, params, rows, batch_size=batch_size), items, has_anchors)


def body_of(config: ExperimentConfig, catalogue: Catalogue) -> Model:
    """The autoencoder of any run; of H+Vamp what lies above the upper latent."""
    choice, num_items = config.model, catalogue.num_items
    if choice.name == "hvamp":
        return _upper_latent(config, num_items)
    if choice.name == "multidae":
        return multidae(num_items, hidden=choice.hidden)
    if choice.name == "cdae":
        return cdae(num_items, num_users=catalogue.num_train_users, hidden=choice.hidden[-1]).model
    if choice.name == "warp":
        return linear_autoencoder(num_items, dim=choice.hidden[-1])
    return parts.build_body(config, num_items)


def _upper_latent(config: ExperimentConfig, num_items: int) -> Model:
    """H+Vamp as a model of z2, with z1 at the mean that z2 expects."""
    model = hvamp(
        num_items,
        hidden=config.model.hidden[0],
        latent_dim=config.model.latent_dim,
        gated_layers=len(config.model.hidden),
        num_pseudo_inputs=config.prior.pseudo_inputs,
    )

    def decode(params: Params, z2: jax.Array) -> jax.Array:
        return model.decode(params, model.prior_bottom(params, z2).mean, z2)

    def decode_factored(params: Params, z2: jax.Array) -> FactoredLogits:
        return model.decode_factored(params, model.prior_bottom(params, z2).mean, z2)

    return Model(model.init, model.encode_top, decode, decode_factored, num_items, model.latent_dim)


class Neighbours(NamedTuple):
    """An item and those most like it."""

    item: int
    items: np.ndarray
    """int[K], most alike first."""
    similarities: np.ndarray
    """float32[K], cosines of centred vectors."""


def nearest_items(vectors: np.ndarray, items: np.ndarray, *, k: int, among: np.ndarray) -> list[Neighbours]:
    """Find the items whose vectors point the same way, seen from the mean of all items.

    The mean is taken off because nothing depends on it: a softmax does not change when every item's vector moves by the
    same amount, nor do distances between anchors.

    Args:
      vectors: float32[I, D].
      items: int[M], the items to find neighbours of.
      k: neighbours of each.
      among: bool[I], items that may be neighbours.
    """
    centred = vectors - vectors[among].mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    found = []
    for item in items:
        cosines = np.where(among, unit @ unit[item], -np.inf)
        cosines[item] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: min(k, np.count_nonzero(np.isfinite(cosines)))]
        found.append(Neighbours(int(item), best, cosines[best]))
    return found


def spread_over_popularity(train_users: np.ndarray, *, count: int, at_least: int) -> np.ndarray:
    """Choose items from the most to the least popular, at ranks that grow geometrically: int[M], M at most `count`.

    Args:
      train_users: int[I].
      count: items wanted.
      at_least: training users that an item must have; where too few items have them, the most popular are taken.
    """
    order = np.argsort(-train_users, kind="stable")
    eligible = max(int(np.count_nonzero(train_users >= at_least)), min(count, len(order)))
    ranks = np.unique(np.geomspace(1, eligible, count).round().astype(int)) - 1
    return order[ranks]
