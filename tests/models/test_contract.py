"""What every `Model` owes its callers, whatever its layers are."""

from functools import cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batch_factory import dense_rows, sparse_batch
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads

from piavae_jax import losses, masking
from piavae_jax.models import cdae, linear_autoencoder, make_score_fn, multidae, multvae, recvae
from piavae_jax.sampling import reparameterize
from piavae_jax.training.layout import item_specs, pad_items

I, D = 9, 5  # over four devices the last shard is nothing but padding
LENGTHS = [0, 1, 4, 9]  # an empty row, one item, all items
ROWS = dense_rows(LENGTHS, I)


def build_cdae(num_items, **options):
    """CDAE as it is trained: rows of the batch are users 0, 1, ..."""
    body = cdae(num_items, num_users=len(LENGTHS), hidden=D, **options)
    return body.model._replace(encode=body.encode_users)


BUILDERS = {
    "multvae": partial(multvae, hidden=(8, 7), latent_dim=D),
    "linear_vae": partial(multvae, hidden=(), latent_dim=D),
    "recvae": partial(recvae, hidden=8, layers=3, latent_dim=D),
    "multidae": partial(multidae, hidden=(8, D)),
    "linear": partial(linear_autoencoder, dim=D),
    "cdae": build_cdae,
}
MODELS = {name: build(I) for name, build in BUILDERS.items()}


@cache
def params_of(name):
    return jax.jit(MODELS[name].init)(jax.random.key(0))


every_model = pytest.mark.parametrize("name", MODELS)


def loss(model, params, batch, item_axis=None):
    """float32[B], the likelihood at a sample, and what depends on the log variance."""
    posterior = model.encode(params, masking.encoder_input(batch))
    z = reparameterize(posterior, key=jax.random.key(1))
    nll = losses.multinomial_nll(model.decode(params, z), batch, item_axis=item_axis)
    return nll + jnp.sum(jnp.square(z), axis=1)


@every_model
def test_shapes(name):
    model, params = MODELS[name], params_of(name)
    posterior = model.encode(params, masking.encoder_input(jnp.asarray(ROWS)))
    chex.assert_shape(posterior, (len(ROWS), model.latent_dim))
    chex.assert_shape(model.decode(params, posterior.mean), (len(ROWS), model.num_items))
    chex.assert_tree_all_finite((posterior.mean, model.decode(params, posterior.mean)))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


@every_model
def test_sparse_rows_are_dense_rows_and_jit_changes_nothing(name):
    model, params = MODELS[name], params_of(name)
    batch = sparse_batch(ROWS, padding=3, padded_rows=2)
    scores, posterior = jax.jit(
        lambda batch: (make_score_fn(model)(params, batch), model.encode(params, masking.encoder_input(batch)))
    )(batch)
    dense = jnp.asarray(ROWS)
    expected = model.encode(params, masking.encoder_input(dense))
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[: len(ROWS)], posterior), expected, atol=1e-5)
    np.testing.assert_allclose(scores[: len(ROWS)], make_score_fn(model)(params, dense), atol=1e-5)


@every_model
def test_factored_logits_multiply_out_to_the_logits(name):
    model, params = MODELS[name], params_of(name)
    z = jax.random.normal(jax.random.key(2), (3, model.latent_dim))
    features, kernel, bias = map(np.asarray, model.decode_factored(params, z))
    np.testing.assert_allclose(model.decode(params, z), features @ kernel + bias, atol=1e-5)


@every_model
def test_gradient_is_the_numerical_one_and_reaches_every_parameter(name):
    model, batch = MODELS[name], sparse_batch(ROWS, padding=3)

    def total(params):
        return jnp.mean(loss(model, params, batch))

    check_grads(jax.jit(total), (params_of(name),), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)
    for leaf in jax.tree.leaves(jax.jit(jax.grad(total))(params_of(name))):
        assert np.isfinite(leaf).all()
        assert np.any(leaf)


@every_model
def test_items_split_over_devices(name):
    whole, params, batch = MODELS[name], params_of(name), sparse_batch(ROWS, padding=3)
    split = BUILDERS[name](I, item_axis="items")
    specs = item_specs(lambda count: BUILDERS[name](count).init(jax.random.key(0)), I)
    mesh = jax.make_mesh((4,), ("items",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])

    def total(model, item_axis):
        return jax.value_and_grad(lambda params: jnp.sum(loss(model, params, batch, item_axis)))

    run = jax.shard_map(
        total(split, "items"), mesh=mesh, in_specs=(specs,), out_specs=(PartitionSpec(), specs), check_vma=False
    )
    value, gradients = jax.jit(run)(pad_items(params, specs, item_shards=4))
    expected, expected_gradients = jax.jit(total(whole, None))(params)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    padded = pad_items(expected_gradients, specs, item_shards=4)
    chex.assert_trees_all_close(gradients, padded, rtol=1e-4, atol=1e-5)


@every_model
def test_the_key_decides_the_start(name):
    model, params = MODELS[name], params_of(name)
    chex.assert_trees_all_equal(jax.jit(model.init)(jax.random.key(0)), params)
    other = jax.jit(model.init)(jax.random.key(1))
    changed = jax.tree.map(lambda a, b: np.any(a != b), params, other)
    assert any(jax.tree.leaves(changed["encoder"]))
    assert any(jax.tree.leaves(changed["decoder"]))


@every_model
def test_a_model_is_a_key(name):
    assert make_score_fn(MODELS[name]) is make_score_fn(MODELS[name])
