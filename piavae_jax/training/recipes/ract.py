"""RaCT (Lobel et al. 2020): a critic learns to predict nDCG@100, then the actor, a Multi-VAE, learns from it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from piavae_jax import losses, sampling, sparse
from piavae_jax.config import ExperimentConfig
from piavae_jax.evaluation import exclude_seen, find_hits, ndcg_at_k, top_k
from piavae_jax.losses import ElboTerms, PiaTerms
from piavae_jax.models import FeatureNorm, critic, critic_features, init_critic, norm_loss
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.recipe import LossFn, Phase, Recipe
from piavae_jax.training.recipes import parts
from piavae_jax.training.recipes.variational import variational
from piavae_jax.types import Params, SparseBatch, SparseInput

_ACTOR, _CRITIC, _BOTH = "actor", "critic", "actor and critic"
_CRITIC_KEY = 4
_K = 100
_NORM_RATE = 0.01
"""Share of a batch in the running statistics of the critic's input. The authors' 0.001 would keep, on a data set of ten
batches, a third of the numbers that the statistics begin with."""
_CRITIC_L2 = 1e-4
"""Over the batch size: weight of half the critic's squared weights, as the authors' code has it."""


class CriticTerms(NamedTuple):
    """Terms of the stages in which the critic learns."""

    critic: jax.Array
    """float32[B], squared error of the predicted nDCG@100."""
    ndcg: jax.Array
    """float32[B], the true nDCG@100 of the masked-out items; zero where none was masked out."""


def ract(config: ExperimentConfig, catalogue: Catalogue, *, item_axis: str | None = None) -> Recipe:
    """Multi-VAE with a ranking critic, as `build_recipe`.

    Three stages: the actor alone, while the statistics that normalise the critic's input move; the critic alone; both,
    the actor to raise the critic's prediction. The prediction is made of the number of items seen, of items masked out,
    and of the negative log-likelihood, through which the actor learns.
    """
    parts.refuse_item_axis(config, item_axis)
    parts.refuse_item_block(config)
    actor = variational(config, catalogue)
    (pretraining,) = actor.phases
    forward = _make_forward(config, catalogue)

    def init(key: jax.Array) -> dict:
        drawn = init_critic(jax.random.fold_in(key, _CRITIC_KEY))
        return actor.init(key) | {"critic": drawn["layers"], "norm": drawn["norm"]._asdict()}

    def passes(epoch: int) -> tuple[str, ...]:
        first, second = config.stages.pretraining, config.stages.pretraining + config.stages.critic
        return (_ACTOR,) if epoch <= first else (_CRITIC,) if epoch <= second else (_BOTH,)

    stages = config.stages
    norm_optimizer = {"norm": optax.sgd(_NORM_RATE)}
    critic_optimizer = {
        "critic": _critic_optimizer(stages.critic_learning_rate, l2=_CRITIC_L2 / config.training.batch_size)
    }
    joint = parts.make_optimizer(config, stages.joint_learning_rate)
    phases = (
        Phase(
            _ACTOR,
            _actor_loss(pretraining.loss_fn, forward),
            (*pretraining.trained, "norm"),
            _by_entry(dict.fromkeys(pretraining.trained, pretraining.optimizer) | norm_optimizer),
        ),
        Phase(_CRITIC, _critic_loss(forward), ("critic",), _by_entry(critic_optimizer)),
        Phase(
            _BOTH,
            _joint_loss(forward),
            ("encoder", "decoder", "critic"),
            _by_entry({"encoder": joint, "decoder": joint} | critic_optimizer),
        ),
    )
    return actor._replace(init=init, phases=phases, passes=passes)


class _Forward(NamedTuple):
    """One masked pass of the actor."""

    features: jax.Array
    """float32[B, 3], the critic's input, not normalised."""
    logits: jax.Array
    """float32[B, I]."""
    seen: jax.Array
    """bool[N], the interactions that the mask kept."""


_ForwardFn: TypeAlias = Callable[[Params, SparseBatch, jax.Array], _Forward]


def _make_forward(config: ExperimentConfig, catalogue: Catalogue) -> _ForwardFn:
    model = parts.build_body(config, catalogue.num_items)
    mask = parts.make_mask(config, catalogue)

    def forward(params: Params, batch: SparseBatch, key: jax.Array) -> _Forward:
        mask_key, noise_key = jax.random.split(key)
        inputs = mask(batch, mask_key)
        assert isinstance(inputs, SparseInput), "training batches are sparse"
        seen = inputs.values > 0
        z = sampling.reparameterize(model.encode(params, inputs), key=noise_key, users=batch.users)
        logits = model.decode(params, z)
        num_seen = sparse.row_sum(seen.astype(jnp.float32), batch)
        num_unseen = sparse.row_lengths(batch) - num_seen
        features = critic_features(num_seen, num_unseen, losses.multinomial_nll(logits, batch))
        return _Forward(features, logits, seen)

    return forward


def _masked_out_ndcg(result: _Forward, batch: SparseBatch) -> tuple[jax.Array, jax.Array]:
    """float32[B], nDCG@100 of the items that the mask dropped, zero where there is none; bool[B], whether there is."""
    none = batch.lengths.shape[0]  # the row that marks what does not count
    shown = batch._replace(rows=jnp.where(result.seen, batch.rows, none))
    targets = batch._replace(rows=jnp.where(result.seen, none, batch.rows))
    counts = sparse.row_sum(jnp.where(result.seen, 0, 1), batch)
    hits = find_hits(top_k(exclude_seen(jax.lax.stop_gradient(result.logits), shown), _K).items, targets)
    some = counts > 0
    return jnp.where(some, ndcg_at_k(hits, jnp.maximum(counts, 1), _K), 0.0), some


def _predict(params: Params, features: jax.Array) -> jax.Array:
    return critic({"layers": params["critic"], "norm": FeatureNorm(**params["norm"])}, features)


def _critic_terms(params: Params, result: _Forward, batch: SparseBatch) -> CriticTerms:
    ndcg, some = _masked_out_ndcg(result, batch)
    predicted = _predict(params, jax.lax.stop_gradient(result.features))
    return CriticTerms(jnp.where(some, jnp.square(predicted - ndcg), 0.0), ndcg)


def _actor_loss(pretraining: LossFn, forward: _ForwardFn) -> LossFn:
    """The pretraining loss, and the one whose gradient steps are the running statistics of the critic's input."""

    def loss_fn(
        params: Params, batch: SparseBatch, *, beta: jax.Array, anchor_weight: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, ElboTerms | PiaTerms]:
        loss, terms = pretraining(params, batch, beta=beta, anchor_weight=anchor_weight, key=key)
        features = jax.lax.stop_gradient(forward(params, batch, key).features)
        tracking = norm_loss(FeatureNorm(**params["norm"]), features)
        # Worth nothing in value, all in gradient.
        return loss + tracking - jax.lax.stop_gradient(tracking), terms

    return loss_fn


def _critic_loss(forward: _ForwardFn) -> LossFn:
    def loss_fn(
        params: Params, batch: SparseBatch, *, beta: jax.Array, anchor_weight: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, CriticTerms]:
        del beta, anchor_weight
        terms = _critic_terms(params, forward(params, batch, key), batch)
        return terms.critic, terms

    return loss_fn


def _joint_loss(forward: _ForwardFn) -> LossFn:
    """The critic goes on learning, the actor raises what a fixed critic predicts."""

    def loss_fn(
        params: Params, batch: SparseBatch, *, beta: jax.Array, anchor_weight: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, CriticTerms]:
        del beta, anchor_weight
        result = forward(params, batch, key)
        terms = _critic_terms(params, result, batch)
        fixed = {**params, "critic": jax.lax.stop_gradient(params["critic"])}
        return terms.critic - _predict(fixed, result.features), terms

    return loss_fn


def _critic_optimizer(learning_rate: float, *, l2: float) -> optax.GradientTransformation:
    def weights(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim == 2, params)

    # The gradient of l2 / 2 * ||W||^2.
    return optax.chain(optax.add_decayed_weights(l2, mask=weights), optax.adam(learning_rate))


def _by_entry(optimizers: Mapping[str, optax.GradientTransformation]) -> optax.GradientTransformation:
    """An optimiser for each entry of the parameters."""
    return optax.partition(optimizers, lambda params: {name: name for name in params})
