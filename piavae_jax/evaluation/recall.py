"""Recall at k."""

import jax
import jax.numpy as jnp


def recall_at_k(hits: jax.Array, num_targets: jax.Array, k: int) -> jax.Array:
    r"""Share of the held-out items found in the first k, of those that k places could hold.

    .. math:: \text{Recall@}k = \frac{\sum_{r=1}^{k} \text{hit}_r}{\min(k, n)}

    for a user with n held-out items. Dividing by `min(k, n)` instead of n makes 1 attainable for every user (Liang,
    Krishnan, Hoffman, Jebara: Variational Autoencoders for Collaborative Filtering, WWW 2018, section 4.2).

    Args:
      hits: bool[B, K], whether the item at each rank was held out; places beyond K (a list shorter than k) hold no hit.
      num_targets: int32[B], n.
      k: the cut-off, at least 1.

    Returns:
      float32[B] in [0, 1]; NaN where a user has no held-out item.
    """
    found = jnp.sum(hits[:, :k], axis=-1, dtype=jnp.float32)
    attainable = jnp.clip(num_targets, 1, k).astype(jnp.float32)
    return jnp.where(num_targets > 0, found / attainable, jnp.nan)
