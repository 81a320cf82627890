"""Theorem 2.3: what an SGD step on one user does to another's loss, and the bound by their latent distance."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax import losses
from piavae_jax.analysis.decoder_gradients import gradient_gram
from piavae_jax.analysis.posteriors import dense_rows
from piavae_jax.data.batches import DeviceRows, gather_batch, to_device
from piavae_jax.data.csr import CSR
from piavae_jax.errors import UserError
from piavae_jax.models import Model
from piavae_jax.types import Params, Posterior


class Transfer(NamedTuple):
    """P pairs (u, v): the quantities of Theorem 2.3 and the measured effect of a step on v.

    Gradients are of the decoder's parameters. Their norms and inner products are unbiased: products of two different
    samples of z only, so that a norm near zero may come out as zero.
    """

    loss: jax.Array
    """float32[P], `L_u`, nats."""
    change: jax.Array
    """float32[P], `L_u(theta - eta g_v) - L_u(theta)` as measured, at one set of z; g_v has other samples."""
    inner: jax.Array
    """float32[P], `<g_u, g_v>`; the change is `-eta` times this, to first order."""
    gradient_norm: jax.Array
    """float32[P], `||g_u||`."""
    other_norm: jax.Array
    """float32[P], `||g_v||`."""
    content_mismatch: jax.Array
    """float32[P], `Delta_x(u, v) = ||E_{q_v}[grad l(x_u, z) - grad l(x_v, z)]||`."""
    latent_mismatch: jax.Array
    """float32[P], `||E_{q_v} grad l(x_u, z) - E_{q_u} grad l(x_u, z)||`, what the theorem bounds by `L W1`."""
    lipschitz: jax.Array
    """float32[P], the largest `||grad l(x_u, z) - grad l(x_u, z')|| / ||z - z'||` over coupled samples of z ~ q_u and
    z' ~ q_v: never more than the theorem's L."""


def transfer(
    model: Model,
    params: Params,
    rows: CSR,
    posterior: Posterior,
    pairs: np.ndarray,
    *,
    learning_rate: float,
    samples: int,
    key: jax.Array,
) -> Transfer:
    """Measure the quantities of Theorem 2.3, and the step that it is about, on pairs of users.

    Args:
      model: a `Model`.
      params: of the model.
      rows: U users' interactions.
      posterior: `[U, D]`, of these rows.
      pairs: int[P, 2], row numbers (u, v).
      learning_rate: eta of the step on v.
      samples: S >= 2 draws of z for each expectation.
      key: a PRNG key, consumed here.

    Returns:
      The measurements, NumPy arrays inside. One pair at a time: O(S (I + S + hidden parameters)) memory besides two
      copies of the decoder.

    Raises:
      UserError: `samples` is below 2.
    """
    if samples < 2:
        raise UserError(f"samples must be at least 2, got {samples}: products of two samples are what is averaged")
    capacity = max(int(rows.lengths[pairs].max()), 1)
    held = jax.tree.map(jnp.asarray, posterior)
    measured = _transfer(
        model, params, to_device(rows), held, jnp.asarray(pairs, jnp.int32), learning_rate, key, samples, capacity
    )
    return jax.device_get(measured)


@partial(jax.jit, static_argnums=(0, 7, 8))
def _transfer(
    model: Model,
    params: Params,
    rows: DeviceRows,
    posterior: Posterior,
    pairs: jax.Array,
    learning_rate: jax.Array,
    key: jax.Array,
    samples: int,
    capacity: int,
) -> Transfer:
    def of_pair(pair_and_key: tuple[jax.Array, jax.Array]) -> Transfer:
        pair, pair_key = pair_and_key
        both = dense_rows(gather_batch(rows, pair, capacity=2 * capacity), model.num_items)
        mean, sigma = posterior.mean[pair], jnp.exp(0.5 * posterior.logvar[pair])
        noise, step_noise = jax.random.normal(pair_key, (2, samples, model.latent_dim))
        z_u, z_v = mean[0][None] + sigma[0][None] * noise, mean[1][None] + sigma[1][None] * noise
        step_z = mean[1][None] + sigma[1][None] * step_noise
        loss, change = _step(model, params, both, z_u, step_z, learning_rate)
        return _from_gram(_pair_gram(model, params, both, z_u, z_v), z_u - z_v)._replace(loss=loss, change=change)

    return jax.lax.map(of_pair, (pairs, jax.random.split(key, pairs.shape[0])))


def expected_loss(model: Model, params: Params, row: jax.Array, z: jax.Array) -> jax.Array:
    """`L(theta)`, the mean of `-log p(x | z)` over samples `z: [S, D]` of one user's row `x: [I]`, in nats."""
    targets = jnp.broadcast_to(row[None, :], (z.shape[0], row.shape[0]))
    return jnp.mean(losses.multinomial_nll(model.decode(params, z), targets))


def _step(
    model: Model, params: Params, both: jax.Array, z_u: jax.Array, z_v: jax.Array, learning_rate: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """`L_u`, and how a step on v changes it."""

    def loss(decoder: Params, row: jax.Array, z: jax.Array) -> jax.Array:
        return expected_loss(model, {"decoder": decoder}, row, z)

    gradient = jax.grad(loss)(params["decoder"], both[1], z_v)
    after = jax.tree.map(lambda leaf, slope: leaf - learning_rate * slope, params["decoder"], gradient)
    before = loss(params["decoder"], both[0], z_u)
    return before, loss(after, both[0], z_u) - before


def _pair_gram(model: Model, params: Params, both: jax.Array, z_u: jax.Array, z_v: jax.Array) -> jax.Array:
    """float32[3, 3, S, S]: inner products of the gradients of x_u at z_u, of x_u at z_v, and of x_v at z_v."""
    samples = z_u.shape[0]
    contents = jnp.repeat(both, jnp.array([2 * samples, samples]), axis=0, total_repeat_length=3 * samples)
    gram = gradient_gram(model, params, contents, jnp.concatenate([z_u, z_v, z_v]))
    return gram.reshape(3, samples, 3, samples).transpose(0, 2, 1, 3)


def _from_gram(gram: jax.Array, between: jax.Array) -> Transfer:
    samples = gram.shape[-1]
    each = jnp.diagonal(gram, axis1=2, axis2=3)  # [3, 3, S], products within one draw of the noise
    mean = (jnp.sum(gram, axis=(2, 3)) - jnp.sum(each, axis=-1)) / (samples * (samples - 1))
    own, moved, other = range(3)

    def distance(products: jax.Array, one: int, two: int) -> jax.Array:
        squared = products[one, one] + products[two, two] - products[one, two] - products[two, one]
        return jnp.sqrt(jnp.maximum(squared, 0.0))

    apart = jnp.maximum(jnp.linalg.norm(between, axis=-1), jnp.finfo(between.dtype).tiny)
    return Transfer(
        loss=jnp.zeros(()),
        change=jnp.zeros(()),
        inner=mean[own, other],
        gradient_norm=jnp.sqrt(jnp.maximum(mean[own, own], 0.0)),
        other_norm=jnp.sqrt(jnp.maximum(mean[other, other], 0.0)),
        content_mismatch=distance(mean, moved, other),
        latent_mismatch=distance(mean, own, moved),
        lipschitz=jnp.max(distance(each, own, moved) / apart),
    )


def transfer_penalty(distance: jax.Array, content_mismatch: jax.Array, *, lipschitz: float) -> jax.Array:
    """`D_uv = L W1(q_u, q_v) + Delta_x(u, v)` (Theorem 2.3), float32[P] of distances and mismatches of P pairs."""
    return lipschitz * distance + content_mismatch


def first_order_bound(gradient_norm: jax.Array, penalty: jax.Array, *, learning_rate: float) -> jax.Array:
    """`-eta ||g_u|| (||g_u|| - D_uv)`, the theorem's upper bound of the change to first order, float32[P]."""
    return -learning_rate * gradient_norm * (gradient_norm - penalty)


def sharing_radius(gradient_norm: jax.Array, content_mismatch: jax.Array, *, lipschitz: float) -> jax.Array:
    """`r_share = [||g_u|| - Delta_x(u, v)]_+ / L` (Theorem 2.3), float32[P]: W1 below it guarantees that u gains."""
    return jnp.maximum(gradient_norm - content_mismatch, 0.0) / lipschitz


@partial(jax.jit, static_argnums=0, static_argnames="iterations")
def local_lipschitz(
    model: Model, params: Params, rows: jax.Array, z: jax.Array, *, iterations: int = 20, key: jax.Array
) -> jax.Array:
    """`||d/dz grad_theta l(x, z)||_2` at each z: how fast the decoder's gradient turns there, by power iteration.

    The theorem's L is at least the largest of these over all z.

    Args:
      model: a `Model`.
      params: of the model.
      rows: float32[B, I], dense rows.
      z: float32[B, D].
      iterations: of the power iteration, which approaches from below.
      key: a PRNG key for its start, consumed here.

    Returns:
      float32[B].
    """
    start = jax.random.normal(key, (model.latent_dim,))

    def of_row(row_and_code: tuple[jax.Array, jax.Array]) -> jax.Array:
        row, code = row_and_code

        def gradient(at: jax.Array) -> Params:
            return jax.grad(lambda tree: expected_loss(model, {"decoder": tree}, row, at[None, :]))(params["decoder"])

        # The decoder's custom gradients have no forward mode: the transpose of the reverse mode stands in for it.
        there, pull = jax.vjp(gradient, code)
        push = jax.linear_transpose(pull, there)

        def iterate(_: int, direction: jax.Array) -> jax.Array:
            (turned,) = pull(*push((direction,)))
            return turned / jnp.linalg.norm(turned)

        direction = jax.lax.fori_loop(0, iterations, iterate, start / jnp.linalg.norm(start))
        moved = jax.tree.leaves(push((direction,)))
        return jnp.linalg.norm(jnp.stack([jnp.linalg.norm(leaf.ravel()) for leaf in moved]))

    return jax.lax.map(of_row, (rows, z))
