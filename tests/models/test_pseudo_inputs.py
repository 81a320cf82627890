import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax.models import init_pseudo_inputs, multvae, pseudo_rows


def test_they_start_as_those_of_the_paper():
    rows = jax.jit(lambda key: init_pseudo_inputs(400, count=250, key=key))(jax.random.key(0))
    assert (rows.shape, rows.dtype) == ((250, 400), jnp.float32)
    np.testing.assert_allclose([rows.mean(), rows.std()], [0.05, 0.01], rtol=0.01)


def test_an_encoder_sees_them_clipped():
    pseudo_inputs = jnp.array([[-0.5, 0.0, 0.3], [1.0, 1.7, 0.9]])
    np.testing.assert_array_equal(pseudo_rows(pseudo_inputs), np.clip(pseudo_inputs, 0, 1))


def test_they_learn_through_any_encoder_where_they_are_not_clipped():
    model = multvae(4, hidden=(8,), latent_dim=3)
    params = model.init(jax.random.key(0))
    pseudo_inputs = jnp.array([[-0.5, 0.2, 0.3, 1.2], [0.1, 0.9, 2.0, -0.1]])

    def total(rows):
        return jnp.sum(jnp.sin(model.encode(params, rows).mean))

    gradient = jax.jit(jax.grad(lambda rows: total(pseudo_rows(rows))))(pseudo_inputs)
    inside = (pseudo_inputs > 0) & (pseudo_inputs < 1)
    plain = jax.jit(jax.grad(total))(jnp.clip(pseudo_inputs, 0, 1))
    np.testing.assert_allclose(gradient, jnp.where(inside, plain, 0.0), rtol=1e-5)
    assert np.all((np.asarray(gradient) != 0) == inside)
