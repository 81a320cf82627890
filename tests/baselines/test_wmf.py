import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from baseline_data import as_csr, random_rows
from batch_factory import sparse_batch

from piavae_jax import UserError, sparse
from piavae_jax.baselines import dense_wmf_scores, wmf, wmf_scores
from piavae_jax.baselines.wmf import WMFWeights, fold_in
from piavae_jax.types import SparseBatch

wmf_module = sys.modules["piavae_jax.baselines.wmf"]  # beside the function of its name
ROWS = random_rows(40, 12)  # the first user has nothing, the last item nobody
SETTINGS = {"dim": 4, "regularization": 0.05, "unobserved_weight": 0.2, "frequency_exponent": 0.7}
U, I = ROWS.shape


def fit(**settings):
    return wmf(**{**SETTINGS, **settings}).fit(as_csr(ROWS), I)


def penalties(lengths, others):
    return SETTINGS["regularization"] * (lengths + SETTINGS["unobserved_weight"] * others) ** 0.7


def objective(users, items):
    """The published loss on dense rows."""
    predicted = users @ items.T
    weighted = SETTINGS["unobserved_weight"] * (predicted**2).sum() + (ROWS * (predicted - 1) ** 2).sum()
    user_penalty = (penalties(ROWS.sum(axis=1), I) * (users**2).sum(axis=1)).sum()
    return weighted + user_penalty + (penalties(ROWS.sum(axis=0), U) * (items**2).sum(axis=1)).sum()


def best_factors(rows, table):
    """One side's exact factors by dense solves in double precision."""
    table = np.asarray(table, np.float64)
    factors = []
    for row in rows:
        penalty = penalties(row.sum(), len(table)) * np.eye(table.shape[1])
        matrix = (table * row[:, None]).T @ table + SETTINGS["unobserved_weight"] * table.T @ table + penalty
        factors.append(np.linalg.solve(matrix, row @ table))
    return np.array(factors)


def test_a_user_is_folded_in_by_the_exact_solve():
    params = fit(iterations=3)
    held_out = random_rows(7, I, seed=5)
    factors = fold_in(params, sparse_batch(held_out, padding=4))
    np.testing.assert_allclose(factors, best_factors(held_out, params["items"]), rtol=1e-3, atol=1e-5)


def test_the_loss_falls_with_every_iteration():
    losses = []
    for iterations in range(1, 7):
        items = np.asarray(fit(iterations=iterations)["items"], np.float64)
        losses.append(objective(best_factors(ROWS, items), items))
    assert (np.diff(losses) < 0).all()


def test_training_ends_where_nothing_moves():
    params = fit(iterations=300)
    items = jnp.asarray(params["items"])
    users = jnp.asarray(fold_in(params, sparse_batch(ROWS)))
    to_users, to_items = jax.grad(lambda u, i: dense_loss(u, i), argnums=(0, 1))(users, items)
    scale = float(jnp.abs(items).max())
    np.testing.assert_allclose(to_users, 0.0, atol=2e-3 * scale)
    np.testing.assert_allclose(to_items, 0.0, atol=2e-2 * scale)


def dense_loss(users, items):
    rows = jnp.asarray(ROWS, jnp.float32)
    predicted = jnp.matmul(users, items.T, precision="highest")
    loss = 0.2 * jnp.sum(predicted**2) + jnp.sum(rows * (predicted - 1) ** 2)
    for side, lengths, others in ((users, ROWS.sum(axis=1), I), (items, ROWS.sum(axis=0), U)):
        loss += jnp.sum(jnp.asarray(penalties(lengths, others), jnp.float32) * jnp.sum(side**2, axis=1))
    return loss


def test_scores_are_products_of_the_factors():
    params, batch = fit(iterations=2), sparse_batch(ROWS[:5], padding=3, padded_rows=1)
    scores = wmf().score(params, batch)
    expected = best_factors(ROWS[:5], params["items"]) @ np.asarray(params["items"]).T
    np.testing.assert_allclose(scores[:5], expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(scores[jnp.asarray([0, 5])], 0.0)
    np.testing.assert_allclose(jax.jit(wmf().score)(params, batch), scores, atol=1e-5)


def test_dense_rows_score_as_sparse_ones():
    params = fit(iterations=3)
    held_out = random_rows(7, I, seed=5)
    held_out[1], held_out[2] = 0, 1
    expected = best_factors(held_out, params["items"]) @ np.asarray(params["items"], np.float64).T
    scores = dense_wmf_scores(params, jnp.asarray(held_out, jnp.float32))
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(scores, wmf_scores(params, sparse_batch(held_out)), rtol=1e-4, atol=1e-5)


def test_memory_does_not_grow_with_interactions_times_factors(monkeypatch):
    num_users, num_items, count, dim = 20_000, 5_000, 1_000_000, 64
    integers, shape = partial(jax.ShapeDtypeStruct, dtype=jnp.int32), jax.ShapeDtypeStruct
    batch = SparseBatch(
        integers((count,)),
        integers((count,)),
        integers((num_users,)),
        integers((num_users,)),
        shape((num_users,), bool),
    )
    factors = [shape((rows, dim), jnp.float32) for rows in (num_items, num_users)]
    monkeypatch.setattr(sparse, "_AT_ONCE", 1 << 20)
    half_step = jax.jit(wmf_module._half_step.__wrapped__).lower(
        factors[0], batch, factors[1], WMFWeights(*[shape((), jnp.float32)] * 3)
    )
    assert half_step.compile().memory_analysis().temp_size_in_bytes < 4 * count * dim / 2


def test_the_same_seed_gives_the_same_bits():
    first, second, other = (fit(iterations=2, seed=seed)["items"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 0}, "dim must be an integer of at least 1, got 0"),
        ({"iterations": 0}, "iterations must be"),
        ({"seed": -1}, "seed must be"),
        ({"regularization": 0.0}, "regularization must be positive and finite, got 0.0"),
        ({"unobserved_weight": -0.1}, "unobserved_weight must be positive"),
        ({"frequency_exponent": -1.0}, "frequency_exponent must be at least 0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        wmf(**settings)
