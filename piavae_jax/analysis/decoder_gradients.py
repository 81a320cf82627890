"""Inner products between gradients of the decoder's parameters, without the gradients.

The gradient of one sample's loss in the last layer's kernel is `h delta^T`, with h the last hidden layer and delta the
gradient in the logits. So `<g_s, g_t> = (h_s . h_t + 1)(delta_s . delta_t) + <rest>`, bias included, and of the
2 million numbers of ML-1M's last layer none is written.
"""

from typing import Any

import jax
import jax.numpy as jnp

from piavae_jax import losses
from piavae_jax.linear import product
from piavae_jax.models import Model
from piavae_jax.types import Params


def gradient_gram(model: Model, params: Params, rows: jax.Array, z: jax.Array) -> jax.Array:
    """Inner products of the per-sample gradients `grad_theta l(x_s, z_s)`, theta the decoder.

    The loss is the multinomial negative log-likelihood, `losses.multinomial_nll`.

    Args:
      model: a `Model` whose decoder ends in one linear layer onto items, as all here.
      params: of the model.
      rows: float32[S, I], dense rows.
      z: float32[S, D], the latent code that each is decoded from.

    Returns:
      float32[S, S], positive semi-definite up to rounding. O(S (I + S + parameters of the hidden layers)) memory.
    """
    decoder = params["decoder"]
    features, kernel, bias = model.decode_factored(params, z)
    logits = product(features, kernel) + bias[None, :]
    delta = jax.grad(lambda at: jnp.sum(losses.multinomial_nll(at, rows)))(logits)
    of_last = product(delta, delta.T) * (product(features, features.T) + 1)
    return of_last + _hidden_gram(model, decoder, z, product(delta, kernel.T))


def _hidden_gram(model: Model, decoder: Any, z: jax.Array, cotangents: jax.Array) -> jax.Array:
    """The part of the layers below the last: their gradients, of moderate size, are written out."""
    leaves, structure = jax.tree.flatten(decoder)

    def features_of(leaves: list[jax.Array], code: jax.Array) -> jax.Array:
        return model.decode_factored({"decoder": jax.tree.unflatten(structure, leaves)}, code[None, :]).features[0]

    hidden = _used(features_of, leaves, z[0])

    def gradient(code: jax.Array, cotangent: jax.Array) -> jax.Array:
        def of_hidden(chosen: dict[int, jax.Array]) -> jax.Array:
            return features_of([chosen.get(number, leaf) for number, leaf in enumerate(leaves)], code)

        (found,) = jax.vjp(of_hidden, {number: leaves[number] for number in hidden})[1](cotangent)
        return jnp.concatenate([jnp.zeros(1), *(leaf.ravel() for leaf in found.values())])

    gradients = jax.vmap(gradient)(z, cotangents)
    return product(gradients, gradients.T)


def _used(function: Any, leaves: list[jax.Array], code: jax.Array) -> list[int]:
    """Which of the leaves a function of them depends on."""
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    program = jax.make_jaxpr(function)(shapes, jax.ShapeDtypeStruct(code.shape, code.dtype)).jaxpr
    read = {id(variable) for equation in program.eqns for variable in equation.invars}
    return [number for number, variable in enumerate(program.invars[:-1]) if id(variable) in read]
