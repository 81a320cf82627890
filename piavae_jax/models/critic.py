"""The critic of RaCT (Lobel et al. 2020): a network that learns to predict a user's nDCG from three numbers."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from piavae_jax.models.initialization import GLOROT
from piavae_jax.models.layers import Linear
from piavae_jax.types import Params

_HIDDEN = (100, 100, 10)
_EPSILON = 1e-3  # of the normalisation, as in the authors' code
_INITIALIZATION = GLOROT._replace(bias=lambda _: nn.initializers.zeros)


class FeatureNorm(NamedTuple):
    """Running statistics of the critic's features: parameters that only `norm_loss` moves."""

    mean: jax.Array
    """float32[3]."""
    variance: jax.Array
    """float32[3]."""


class _Critic(nn.Module):
    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        for size in _HIDDEN:
            features = nn.relu(Linear(size, initialization=_INITIALIZATION)(features))
        return nn.sigmoid(Linear(1, initialization=_INITIALIZATION)(features)[:, 0])


def critic_features(num_seen: jax.Array, num_unseen: jax.Array, nll: jax.Array) -> jax.Array:
    """Put what the critic knows of each user side by side.

    Args:
      num_seen: [B], interactions that the mask left to the encoder.
      num_unseen: [B], interactions that it took away.
      nll: float32[B], multinomial negative log-likelihood of the full row, in nats; the path of the actor's gradient.

    Returns:
      float32[B, 3].
    """
    chex.assert_rank([num_seen, num_unseen, nll], 1)
    chex.assert_equal_shape([num_seen, num_unseen, nll])
    return jnp.stack([jnp.asarray(feature, jnp.float32) for feature in (num_seen, num_unseen, nll)], axis=-1)


def init_critic(key: jax.Array) -> dict:
    """Draw the critic's parameters, `layers` and `norm: FeatureNorm`; the key is consumed."""
    layers = _Critic().init(key, jnp.zeros((1, 3)))["params"]
    return {"layers": layers, "norm": FeatureNorm(jnp.zeros(3), jnp.ones(3))}


def critic(params: Params, features: jax.Array) -> jax.Array:
    """Predict the nDCG of each user: features normalised by the stored statistics, 100-100-10 with ReLU, logistic.

    Args:
      params: as `init_critic` has them. The statistics get no gradient.
      features: float32[B, 3], from `critic_features`.

    Returns:
      float32[B] in (0, 1).
    """
    chex.assert_shape(features, (None, 3))
    mean, variance = jax.lax.stop_gradient(params["norm"])
    normalized = (features - mean[None, :]) * jax.lax.rsqrt(variance + _EPSILON)[None, :]
    return _Critic().apply({"params": params["layers"]}, normalized)  # type: ignore[return-value]


def norm_loss(norm: FeatureNorm, features: jax.Array) -> jax.Array:
    """A loss whose gradient descent is the running average of the features' statistics.

    `0.5 ||f - m||^2 + 0.5 ||(f - m)^2 - v||^2`, the m of the second term held fixed. One step of plain SGD of rate a on
    its mean over users gives `m + a (mean f - m)` and `v + a (mean (f - m)^2 - v)`. The authors take a = 0.001, in the
    actor's phase only.

    Args:
      norm: the stored statistics, m and v.
      features: float32[B, 3], from `critic_features`; they get no gradient.

    Returns:
      float32[B].
    """
    chex.assert_shape(features, (None, 3))
    deviation = jax.lax.stop_gradient(features) - norm.mean[None, :]
    excess = jax.lax.stop_gradient(jnp.square(deviation)) - norm.variance[None, :]
    return 0.5 * jnp.sum(jnp.square(deviation) + jnp.square(excess), axis=-1)
