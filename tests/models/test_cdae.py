import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batch_factory import dense_rows, sparse_batch
from random_params import random_params

from piavae_jax import UserError, masking
from piavae_jax.models import cdae

I, D, U = 30, 5, 7
ROWS = dense_rows([0, 1, 4, 30], I)
USERS = [6, 0, 3, 3]
BODY = cdae(I, num_users=U, hidden=D)
PARAMS = random_params(BODY.model.init, scale=0.1)


def inputs_of(users, **options):
    batch = sparse_batch(ROWS, **options)
    return masking.encoder_input(batch._replace(users=jnp.asarray(users, jnp.int32)))


def oracle_code(nodes):
    layer = PARAMS["encoder"]["InputLayer_0"]
    inputs = ROWS / np.maximum(np.sqrt(ROWS.sum(axis=1, keepdims=True)), 1.0)
    return np.tanh(inputs @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]) + nodes)


def test_a_training_user_has_a_node_before_the_activation():
    posterior = jax.jit(BODY.encode_users)(PARAMS, inputs_of(USERS))
    np.testing.assert_allclose(posterior.mean, oracle_code(np.asarray(PARAMS["users"])[USERS]), atol=1e-6)
    np.testing.assert_array_equal(posterior.logvar, -np.inf)


def test_a_held_out_user_has_none():
    held_out = jax.jit(BODY.model.encode)(PARAMS, inputs_of(USERS)).mean
    np.testing.assert_allclose(held_out, oracle_code(0.0), atol=1e-6)
    np.testing.assert_array_equal(jax.jit(BODY.encode_users)(PARAMS, inputs_of([-1, U, U + 5, -9])).mean, held_out)


def test_dense_rows_are_numbered_by_position():
    dense = BODY.encode_users(PARAMS, masking.encoder_input(jnp.asarray(ROWS))).mean
    np.testing.assert_allclose(dense, BODY.encode_users(PARAMS, inputs_of(range(4))).mean, atol=1e-6)


def test_only_the_nodes_of_the_batch_learn():
    def total(params):
        posterior = BODY.encode_users(params, inputs_of([*USERS, -1, -1], padded_rows=2))
        return jnp.sum(BODY.model.decode(params, posterior.mean))

    gradient = jax.jit(jax.grad(total))(PARAMS)["users"]
    code = oracle_code(np.asarray(PARAMS["users"])[USERS])
    expected = np.zeros((U, D))
    np.add.at(expected, USERS, (1 - code**2) * np.asarray(PARAMS["decoder"]["kernel"]).sum(axis=1))
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_nodes_start_as_wide_as_the_rows_of_the_first_layer():
    params = cdae(500, num_users=2000, hidden=100).model.init(jax.random.key(1))
    for values in (params["users"], params["encoder"]["InputLayer_0"]["kernel"]):
        np.testing.assert_allclose([np.abs(values).max(), values.std()], [0.1, 0.1 / np.sqrt(3)], rtol=0.02)
    assert params["users"].shape == (2000, 100)


@pytest.mark.parametrize("arguments", [{"num_users": 0}, {"hidden": 0}, {"precision": "half"}])
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(UserError, match=next(iter(arguments))):
        cdae(I, **{"num_users": U, **arguments})
