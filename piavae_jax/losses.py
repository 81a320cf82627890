"""The objectives of Multi-VAE and PIA as pure functions, one value for each user.

Every function takes sparse or dense rows and gives the same values for both. The caller reduces, with the row mask
where rows only pad the batch: a padded row has zero likelihood and anchor terms but a KL of its own.

Inside `jax.shard_map` the functions that take `item_axis` work on arrays that are split along items over that mesh axis
(see `item_parallel`): logits `[B, L]`, anchors `[L, D]` and so on, each device's shard of L items. Batches are sparse
there, hold items of the whole vocabulary and are, like the values, the same on all devices of the axis.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp

from piavae_jax import item_parallel, priors, sparse
from piavae_jax.blocked_nll import blocked_nll
from piavae_jax.errors import UserError
from piavae_jax.linear import affine
from piavae_jax.sharded_nll import sharded_multinomial_nll
from piavae_jax.types import Batch, FactoredLogits, Posterior, SparseBatch

Likelihood: TypeAlias = Callable[..., jax.Array]
"""`likelihood(logits, batch, *, item_axis=None) -> nll: [B]`, such as `multinomial_nll`."""


class ElboTerms(NamedTuple):
    """Terms of the negative ELBO, in nats, unweighted."""

    nll: jax.Array
    """float32[B]."""
    kl: jax.Array
    """float32[B]."""


class PiaTerms(NamedTuple):
    """Terms of the PIA objective, unweighted."""

    nll: jax.Array
    """float32[B], nats."""
    kl: jax.Array
    """float32[B], nats."""
    anchor: jax.Array
    """float32[B], squared latent distance."""


@jax.custom_vjp
def _sparse_multinomial_nll(logits: jax.Array, batch: SparseBatch) -> jax.Array:
    return _sparse_nll_forward(logits, batch)[0]


def _sparse_nll_forward(
    logits: jax.Array, batch: SparseBatch
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, SparseBatch]]:
    normalizer = jax.nn.logsumexp(logits, axis=-1)
    # Adding the normaliser to each term, rather than n times at the end, keeps long rows free of cancellation.
    per_interaction = normalizer.at[batch.rows].get(mode="clip") - logits.at[batch.rows, batch.items].get(mode="clip")
    return sparse.row_sum(per_interaction, batch), (logits, normalizer, batch)


def _sparse_nll_backward(
    residuals: tuple[jax.Array, jax.Array, SparseBatch], cotangent: jax.Array
) -> tuple[jax.Array, None]:
    # n * softmax - x, built in the one [B, I] buffer that the gradient needs anyway.
    logits, normalizer, batch = residuals
    scale = cotangent * batch.lengths.astype(cotangent.dtype)
    gradient = scale[:, None] * jnp.exp(logits - normalizer[:, None])
    at_positives = gradient.at[batch.rows, batch.items]
    return at_positives.add(-cotangent.at[batch.rows].get(mode="clip"), mode="drop"), None


_sparse_multinomial_nll.defvjp(_sparse_nll_forward, _sparse_nll_backward)


def multinomial_nll(logits: jax.Array, batch: Batch, *, item_axis: str | None = None) -> jax.Array:
    """Negative multinomial log-likelihood of the full rows: `- sum_{i in S} log_softmax(logits)_i`, in nats.

    Summed over positives, not averaged (Liang et al. 2018, without the constant multinomial coefficient).

    Args:
      logits: float[B, I], the decoder's output, of any precision; -inf takes an item out that a row does not have.
      batch: sparse rows, or dense rows `[B, I]`, of which any non-negative weights are taken as counts.
      item_axis: the mesh axis that items are split over, if any.

    Returns:
      float32[B]; zero for an empty row.
    """
    chex.assert_rank(logits, 2)
    logits = jnp.asarray(logits)
    if jnp.finfo(logits.dtype).bits < 32:  # a sum of halves over a long row would stand still
        logits = logits.astype(jnp.float32)
    if isinstance(batch, SparseBatch):
        if item_axis is not None:
            return sharded_multinomial_nll(logits, batch, item_axis)
        return _sparse_multinomial_nll(logits, batch)
    sparse.require_whole(item_axis)
    chex.assert_equal_shape([logits, batch])
    log_likelihoods = batch.astype(logits.dtype) * jax.nn.log_softmax(logits, axis=-1)
    return -jnp.sum(jnp.where(batch > 0, log_likelihoods, 0.0), axis=-1)  # a logit may be -inf elsewhere


def blocked_multinomial_nll(
    logits: FactoredLogits,
    batch: Batch,
    *,
    block: int,
    item_axis: str | None = None,
    precision: str = "float32",
) -> jax.Array:
    """`multinomial_nll` without the logits: exact, and never more than `[B, block]` of them at once.

    Blocks of items are visited one after the other with a running log-sum-exp, and once more for the gradient, which
    multiplies each block out again: four products of the last layer's size in place of three, and B x `block` numbers
    in place of B x I, twice. (The same for dense rows, which are `[B, I]` themselves: those multiply out at once.)

    Args:
      logits: the decoder's output before its last product, `[B, H] x [H, I] + [I]`.
      batch: sparse or dense rows of B users.
      block: items at a time, at least 1; I at most counts.
      item_axis: the mesh axis that items are split over, if any; a block is then one of each device's own items.
      precision: of the products, one of `config.PRECISIONS`.

    Returns:
      float32[B]; zero for an empty row.

    Raises:
      UserError: `block` is below 1.
    """
    features, kernel, bias = logits
    chex.assert_rank([features, kernel, bias], [2, 2, 1])
    if block < 1:
        raise UserError(f"block must be at least 1 item, got {block}; 2048 is a good start")
    if not isinstance(batch, SparseBatch):
        return multinomial_nll(affine(features, kernel, bias, precision), batch, item_axis=item_axis)
    shared = item_parallel.copy_to_shards(features, item_axis)
    return blocked_nll(FactoredLogits(shared, kernel, bias), batch, min(block, kernel.shape[1]), item_axis, precision)


def anchor_centroid(anchors: jax.Array, batch: Batch, *, item_axis: str | None = None) -> jax.Array:
    """The mean anchor of each user's positives, `ebar = (1/n) sum_{i in S} e_i` (Prop. 3.1).

    Args:
      anchors: float32[I, D].
      batch: sparse or dense rows of B users.
      item_axis: the mesh axis that items are split over, if any.

    Returns:
      float32[B, D]; zero for an empty row.
    """
    return sparse.row_mean(anchors, batch, item_axis=item_axis)


def _mean_squared_distance(
    points: jax.Array, anchors: jax.Array, batch: Batch, *, item_axis: str | None = None
) -> jax.Array:
    """`(1/n) sum_{i in S} ||p - e_i||^2` for points `p: [B, D]`, as `||p - ebar||^2` plus the spread of the anchors.

    float32[B]; zero for an empty row.
    """
    centroid = anchor_centroid(anchors, batch, item_axis=item_axis)
    mean_norm = sparse.row_mean(jnp.sum(jnp.square(anchors), axis=-1), batch, item_axis=item_axis)
    spread = mean_norm - jnp.sum(jnp.square(centroid), axis=-1)
    distance = jnp.sum(jnp.square(points - centroid), axis=-1) + spread
    return jnp.where(sparse.row_lengths(batch) > 0, distance, 0.0)


@jax.custom_vjp
def _sparse_mean_squared_distance(points: jax.Array, anchors: jax.Array, batch: SparseBatch) -> jax.Array:
    """`_mean_squared_distance` with a gradient that passes over the batch's interactions once."""
    return _mean_squared_distance(points, anchors, batch)


def _distance_forward(
    points: jax.Array, anchors: jax.Array, batch: SparseBatch
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array, SparseBatch]]:
    # The compiler computes the centroid once for both.
    centroid = anchor_centroid(anchors, batch)
    return _mean_squared_distance(points, anchors, batch), (points, anchors, centroid, batch)


def _distance_backward(
    residuals: tuple[jax.Array, jax.Array, jax.Array, SparseBatch], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array, None]:
    # d/dp = 2 (p - ebar) and d/de_i = (2/n) (e_i - p) for the items of S.
    points, anchors, centroid, batch = residuals
    num_items = anchors.shape[0]
    lengths = sparse.row_lengths(batch)
    scale = 2.0 * jnp.where(lengths > 0, cotangent, 0.0)
    weights = jnp.take(scale / jnp.maximum(lengths, 1.0), batch.rows, mode="clip")
    weights = jnp.where(sparse.is_interaction(batch), weights, 0.0)
    to_item = jnp.zeros(num_items, weights.dtype).at[batch.items].add(weights)
    pull = sparse.weighted_item_sum(points, weights, batch, num_items=num_items)
    return scale[:, None] * (points - centroid), to_item[:, None] * anchors - pull, None


_sparse_mean_squared_distance.defvjp(_distance_forward, _distance_backward)


def sampled_anchor_loss(z: jax.Array, anchors: jax.Array, batch: Batch, *, item_axis: str | None = None) -> jax.Array:
    """Personalised item alignment at a sample of z (Eq. 9): `(1/n) sum_{i in S} ||z - e_i||^2`.

    Its mean over z ~ q(z | x_h) is `anchor_loss`.

    Args:
      z: float32[B, D], a sample from the posterior of the masked rows.
      anchors: learnable item anchors, float32[I, D].
      batch: the full, unmasked rows of B users, sparse or dense.
      item_axis: the mesh axis that items are split over, if any.

    Returns:
      float32[B]; zero for an empty row. O(N D) time and memory on sparse rows.
    """
    chex.assert_rank([z, anchors], 2)
    if isinstance(batch, SparseBatch) and item_axis is None:
        return _sparse_mean_squared_distance(z, anchors, batch)
    return _mean_squared_distance(z, anchors, batch, item_axis=item_axis)


def anchor_loss(posterior: Posterior, anchors: jax.Array, batch: Batch, *, item_axis: str | None = None) -> jax.Array:
    """Personalised item alignment in closed form (Eq. 10 of the paper, its constant included).

    `||mu - ebar||^2 + sum(sigma^2) + (1/n) sum_{i in S} ||e_i||^2 - ||ebar||^2`: Eq. 9 at the mean, plus the variance.
    What the paper calls a constant is one for the encoder only: it carries a gradient to the anchors.

    Args:
      posterior: q(z | x_h) of the masked rows, `[B, D]`.
      anchors: learnable item anchors, float32[I, D].
      batch: the full, unmasked rows of B users, sparse or dense.
      item_axis: the mesh axis that items are split over, if any.

    Returns:
      float32[B]; zero for an empty row. O(N D) time and memory on sparse rows.
    """
    chex.assert_rank([posterior.mean, anchors], 2)
    variance = jnp.sum(jnp.exp(posterior.logvar), axis=-1)
    at_mean = sampled_anchor_loss(posterior.mean, anchors, batch, item_axis=item_axis)
    return at_mean + jnp.where(sparse.row_lengths(batch) > 0, variance, 0.0)


def consistency_loss(first: Posterior, second: Posterior) -> jax.Array:
    """How far two views' posteriors of the same users lie apart: the squared 2-Wasserstein distance of the Gaussians.

    `||mu_1 - mu_2||^2 + ||sigma_1 - sigma_2||^2`: in the units of the anchor loss, and finite however small a variance.

    Args:
      first: q(z | x_h) of one masked view, `[B, D]`.
      second: of the other, `[B, D]`.

    Returns:
      float32[B]; zero where both are equal. Gradients flow to both.
    """
    chex.assert_rank([*first, *second], 2)
    chex.assert_equal_shape([*first, *second])
    between_sigmas = jnp.exp(0.5 * first.logvar) - jnp.exp(0.5 * second.logvar)
    return jnp.sum(jnp.square(first.mean - second.mean) + jnp.square(between_sigmas), axis=-1)


def symmetric_kl_loss(first: Posterior, second: Posterior) -> jax.Array:
    """How far two views' posteriors of the same users lie apart: the mean of KL(1 || 2) and KL(2 || 1), in nats.

    Unlike `consistency_loss` it weighs a distance by how sure the posteriors are.

    Args:
      first: q(z | x_h) of one masked view, `[B, D]`.
      second: of the other, `[B, D]`.

    Returns:
      float32[B]; zero where both are equal. Gradients flow to both.
    """
    chex.assert_rank([*first, *second], 2)
    chex.assert_equal_shape([*first, *second])
    # (v1/v2 + v2/v1 - 2) / 4, free of cancellation where the variances are nearly equal.
    between_variances = jnp.square(jnp.sinh(0.5 * (first.logvar - second.logvar)))
    precision = jnp.exp(-first.logvar) + jnp.exp(-second.logvar)
    return jnp.sum(between_variances + 0.25 * jnp.square(first.mean - second.mean) * precision, axis=-1)


def elbo(
    posterior: Posterior,
    logits: jax.Array | FactoredLogits,
    batch: Batch,
    *,
    beta: float | jax.Array,
    kl: jax.Array | None = None,
    likelihood: Likelihood = multinomial_nll,
    item_axis: str | None = None,
) -> tuple[jax.Array, ElboTerms]:
    """The negative beta-regularised ELBO, `nll + beta * KL` (Eq. 1).

    Args:
      posterior: q(z | x_h) of the masked rows, `[B, D]`.
      logits: float32[B, I], decoded from a sample of the posterior, or what else the likelihood takes.
      batch: the full, unmasked rows of B users, sparse or dense.
      beta: weight of the KL term, a scalar or `[B]`.
      kl: float32[B], the divergence from a prior of another kind, such as `priors.sampled_kl`; by default the closed
        form for N(0, I).
      likelihood: `multinomial_nll`, or `functools.partial(blocked_multinomial_nll, block=2048)`.
      item_axis: the mesh axis that items are split over, if any.

    Returns:
      The loss, float32[B], and its unweighted terms.
    """
    kl = priors.gaussian_kl(posterior) if kl is None else kl
    terms = ElboTerms(likelihood(logits, batch, item_axis=item_axis), kl)
    chex.assert_equal_shape(terms)
    return terms.nll + beta * terms.kl, terms


def pia_elbo(
    posterior: Posterior,
    logits: jax.Array | FactoredLogits,
    batch: Batch,
    *,
    beta: float | jax.Array,
    anchors: jax.Array,
    anchor_weight: float | jax.Array,
    kl: jax.Array | None = None,
    z: jax.Array | None = None,
    likelihood: Likelihood = multinomial_nll,
    item_axis: str | None = None,
) -> tuple[jax.Array, PiaTerms]:
    """The PIA objective, `nll + beta * KL + lambda_A * L_A` (Eq. 8).

    Args:
      posterior: q(z | x_h) of the masked rows, `[B, D]`.
      logits: float32[B, I], decoded from a sample of the posterior, or what else the likelihood takes.
      batch: the full, unmasked rows of B users, sparse or dense.
      beta: weight of the KL term, a scalar or `[B]`.
      anchors: learnable item anchors, float32[I, D]; used in training only.
      anchor_weight: lambda_A, a scalar.
      kl: float32[B], the divergence from a prior of another kind, such as `priors.sampled_kl`; by default the closed
        form for N(0, I).
      z: float32[B, D], the sample that was decoded: the anchor term is then Eq. 9 at this sample. Without it the
        closed form, Eq. 10.
      likelihood: `multinomial_nll`, or `functools.partial(blocked_multinomial_nll, block=2048)`.
      item_axis: the mesh axis that items are split over, if any.

    Returns:
      The loss, float32[B], and its unweighted terms.
    """
    negative_elbo, (nll, kl) = elbo(
        posterior, logits, batch, beta=beta, kl=kl, likelihood=likelihood, item_axis=item_axis
    )
    if z is None:
        anchor = anchor_loss(posterior, anchors, batch, item_axis=item_axis)
    else:
        anchor = sampled_anchor_loss(z, anchors, batch, item_axis=item_axis)
    return negative_elbo + anchor_weight * anchor, PiaTerms(nll, kl, anchor)
