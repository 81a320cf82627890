import jax
import jax.numpy as jnp
import numpy as np
import pytest

from piavae_jax.baselines.conjugate_gradient import conjugate_gradient

M, N = 5, 8
RNG = np.random.default_rng(0)
ROOTS = RNG.normal(size=(M, N, N))
MATRICES = (ROOTS @ ROOTS.transpose(0, 2, 1) + np.eye(N)).astype(np.float32)
DIAGONAL = jnp.asarray(np.diagonal(MATRICES, axis1=1, axis2=2))
TARGET = RNG.normal(size=(M, N)).astype(np.float32)
TARGET[2] = 0.0


def solve(start, **settings):
    settings = {"tolerance": 1e-6, "max_steps": 50} | settings
    return conjugate_gradient(
        lambda x: jnp.einsum("mij,mj->mi", MATRICES, x, precision="highest"),
        jnp.asarray(TARGET),
        jnp.asarray(start),
        diagonal=DIAGONAL,
        axis=1,
        **settings,
    )


def losses(x):
    return np.einsum("mi,mij,mj->m", x, MATRICES, x) / 2 - (x * TARGET).sum(axis=1)


@pytest.mark.parametrize("start", [np.zeros((M, N)), np.ones((M, N))])
def test_each_system_is_solved(start):
    expected = np.linalg.solve(MATRICES.astype(np.float64), TARGET[:, :, None])[..., 0]
    np.testing.assert_allclose(solve(start.astype(np.float32)), expected, rtol=1e-3, atol=1e-4)


def test_systems_may_lie_in_columns():
    def apply(x):
        return jnp.einsum("mij,jm->im", MATRICES, x, precision="highest")

    settings = {"tolerance": 1e-6, "max_steps": 50}
    in_columns = conjugate_gradient(
        apply, jnp.asarray(TARGET.T), jnp.zeros((N, M)), diagonal=DIAGONAL.T, axis=0, **settings
    )
    np.testing.assert_allclose(in_columns.T, solve(np.zeros((M, N), np.float32)), atol=1e-5)


def test_no_step_makes_a_system_worse():
    start = RNG.normal(size=(M, N)).astype(np.float32)
    path = [losses(np.asarray(solve(start, max_steps=steps), np.float64)) for steps in range(8)]
    assert (np.diff(path, axis=0) <= 1e-5).all()
    assert (path[-1] < path[0]).all()


def test_a_solved_system_rests():
    # Row 2 has the solution zero, which it starts at: nothing may be divided by its residual.
    np.testing.assert_array_equal(solve(np.zeros((M, N), np.float32))[2], 0.0)


def test_jit_changes_nothing():
    start = np.zeros((M, N), np.float32)
    np.testing.assert_allclose(jax.jit(solve)(start), solve(start), atol=1e-5)
