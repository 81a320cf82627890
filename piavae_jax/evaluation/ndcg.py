"""Normalised discounted cumulative gain at k."""

import jax
import jax.numpy as jnp
import numpy as np


def ndcg_at_k(hits: jax.Array, num_targets: jax.Array, k: int) -> jax.Array:
    r"""Gain of the first k items, discounted by rank, over the gain of the best possible list.

    .. math:: \text{nDCG@}k
        = \frac{\sum_{r=1}^{k} \text{hit}_r / \log_2(r + 1)}{\sum_{r=1}^{\min(k, n)} 1 / \log_2(r + 1)}

    for a user with n held-out items, each of gain 1 (Järvelin, Kekäläinen: Cumulated Gain-Based Evaluation of IR
    Techniques, ACM TOIS 20(4), 2002; truncated ideal as in Liang, Krishnan, Hoffman, Jebara, WWW 2018, section 4.2).

    Args:
      hits: bool[B, K], whether the item at each rank was held out; places beyond K (a list shorter than k) hold no hit.
      num_targets: int32[B], n.
      k: the cut-off, at least 1.

    Returns:
      float32[B] in [0, 1]; NaN where a user has no held-out item.
    """
    best = jnp.arange(k, dtype=num_targets.dtype)[None, :] < jnp.maximum(num_targets, 1)[:, None]
    return jnp.where(num_targets > 0, _dcg(hits[:, :k]) / _dcg(best), jnp.nan)


def _dcg(hits: jax.Array) -> jax.Array:
    gains = 1.0 / np.log2(np.arange(2.0, hits.shape[1] + 2.0))
    # A sum of selected gains, not a matrix product: accelerators may round those to fewer bits.
    return jnp.sum(jnp.where(hits, jnp.asarray(gains, jnp.float32)[None, :], 0.0), axis=-1)
