"""Where a trained autoencoder puts held-out users and items."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax import masking
from piavae_jax.config import ExperimentConfig
from piavae_jax.data.batches import DeviceRows, gather_batch
from piavae_jax.data.csr import CSR
from piavae_jax.models import Model, cdae, hvamp, linear_autoencoder, multidae
from piavae_jax.report.rows import in_batches
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.fusion import fuses
from piavae_jax.training.recipes import parts
from piavae_jax.training.restore import TrainedModel
from piavae_jax.types import EncoderInput, Params, Posterior

ACTIVE_VARIANCE = 0.01
"""A latent unit is active if its posterior mean varies more than this over users (Burda, Grosse, Salakhutdinov, ICLR
2016, section 5.2)."""


class _Body(NamedTuple):
    encode: Callable[[Params, EncoderInput], Posterior]
    item_kernel: Callable[[Params], jax.Array]
    """float32[H, I] of the decoder's last layer."""


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
        return int(np.count_nonzero(self.users.mean.var(axis=0) > ACTIVE_VARIANCE))


def encode_users(trained: TrainedModel, rows: CSR, *, batch_size: int = 500) -> Latent:
    """Encode V users' rows without a mask; of a fused model by its first member.

    Args:
      trained: a restored run.
      rows: V users, what the model is shown of them.
      batch_size: users at a time.
    """
    config = trained.run.config
    body = _body(config, trained.run.catalogue)
    params = trained.params.members[0] if fuses(config) else trained.params
    batches = in_batches(rows, batch_size=batch_size)

    @jax.jit
    def encode(params: Params, rows: DeviceRows, order: jax.Array) -> Posterior:
        def encode_batch(users: jax.Array) -> Posterior:
            return body.encode(params, masking.encoder_input(gather_batch(rows, users, capacity=batches.capacity)))

        return jax.lax.map(encode_batch, order)

    posterior = jax.device_get(encode(params, batches.rows, batches.order))
    flat = jax.tree.map(lambda part: part.reshape(-1, part.shape[-1])[: rows.num_rows], posterior)
    has_anchors = "anchors" in params
    items = np.asarray(params["anchors"]) if has_anchors else np.asarray(body.item_kernel(params)).T
    return Latent(flat, items, has_anchors)


def _body(config: ExperimentConfig, catalogue: Catalogue) -> _Body:
    choice, num_items = config.model, catalogue.num_items
    if choice.name == "hvamp":
        return _two_layers(config, num_items)
    if choice.name == "multidae":
        return _one_layer(multidae(num_items, hidden=choice.hidden))
    if choice.name == "cdae":
        users = catalogue.num_train_users
        return _one_layer(cdae(num_items, num_users=users, hidden=choice.hidden[-1]).model)
    if choice.name == "warp":
        return _one_layer(linear_autoencoder(num_items, dim=choice.hidden[-1]))
    return _one_layer(parts.build_body(config, num_items))


def _one_layer(model: Model) -> _Body:
    nothing = jnp.zeros((1, model.latent_dim))
    return _Body(model.encode, lambda params: model.decode_factored(params, nothing).kernel)


def _two_layers(config: ExperimentConfig, num_items: int) -> _Body:
    model = hvamp(
        num_items,
        hidden=config.model.hidden[0],
        latent_dim=config.model.latent_dim,
        gated_layers=len(config.model.hidden),
        num_pseudo_inputs=config.prior.pseudo_inputs,
    )
    nothing = jnp.zeros((1, model.latent_dim))
    return _Body(model.encode_top, lambda params: model.decode_factored(params, nothing, nothing).kernel)


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
