import chex
import jax
import jax.numpy as jnp
import numpy as np
import objective_oracle as oracle
import pytest
import scipy.linalg
from batch_factory import dense_rows, sparse_batch
from jax.test_util import check_grads

from piavae_jax import losses, priors, sampling
from piavae_jax.types import Posterior, SparseBatch

B, I, D = 5, 17, 4
LENGTHS = [0, 1, 3, 7, 17]  # an empty row, one item, all items
ROWS = dense_rows(LENGTHS, I)
BATCHES = {"dense": jnp.asarray(ROWS), "sparse": sparse_batch(ROWS), "padded": sparse_batch(ROWS, padding=6)}


def draws(seed=0, scale=1.0):
    generator = np.random.default_rng(seed)
    shapes = {"logits": (B, I), "mean": (B, D), "logvar": (B, D), "anchors": (I, D), "z": (B, D)}
    return {name: (scale * generator.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}


VALUES = draws()
POSTERIOR = Posterior(jnp.asarray(VALUES["mean"]), jnp.asarray(VALUES["logvar"]))
batches = pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())


def test_multinomial_nll_of_a_hand_made_row():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25]]))
    expected = -np.log(0.5) - np.log(0.25)
    np.testing.assert_allclose(losses.multinomial_nll(logits, jnp.array([[1.0, 0.0, 1.0]])), [expected], rtol=1e-6)


def test_anchor_loss_of_a_hand_made_row():
    # One user of items 0 and 1 at anchors (0, 0) and (2, 0), mu = (1, 1), sigma^2 = (1, 1): distances 2 and 2, trace 2.
    posterior = Posterior(jnp.array([[1.0, 1.0]]), jnp.zeros((1, 2)))
    anchors = jnp.array([[0.0, 0.0], [2.0, 0.0], [9.0, 9.0]])
    np.testing.assert_allclose(losses.anchor_loss(posterior, anchors, jnp.array([[1.0, 1.0, 0.0]])), [4.0], rtol=1e-6)


@batches
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_terms_equal_the_oracle(batch, scale):
    values = draws(seed=1, scale=scale)
    posterior = Posterior(jnp.asarray(values["mean"]), jnp.asarray(values["logvar"]).clip(-8, 8))
    logvar = values["logvar"].clip(-8, 8)
    loss, terms = jax.jit(losses.pia_elbo)(
        posterior,
        jnp.asarray(values["logits"]),
        batch,
        beta=0.3,
        anchors=jnp.asarray(values["anchors"]),
        anchor_weight=2.0,
    )
    nll, kl = (
        oracle.nll(values["logits"].astype(np.float64), ROWS),
        oracle.kl(values["mean"].astype(np.float64), logvar),
    )
    anchor = oracle.anchor(*(values[name].astype(np.float64) for name in ("mean",)), logvar, values["anchors"], ROWS)
    np.testing.assert_allclose(terms.nll, nll, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(terms.kl, kl, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(terms.anchor, anchor, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(loss, nll + 0.3 * kl + 2.0 * anchor, rtol=2e-5, atol=1e-5)


@batches
def test_sampled_form_equals_the_oracle(batch):
    z, anchors = VALUES["z"], VALUES["anchors"]
    value = losses.sampled_anchor_loss(jnp.asarray(z), jnp.asarray(anchors), batch)
    np.testing.assert_allclose(value, oracle.anchor_at(z, anchors, ROWS), rtol=1e-5)


def test_sampled_form_converges_to_the_closed_form():
    batch, anchors = BATCHES["sparse"], jnp.asarray(VALUES["anchors"])
    keys = jax.random.split(jax.random.key(0), 4000)
    samples = jax.jit(
        jax.vmap(lambda key: losses.sampled_anchor_loss(sampling.reparameterize(POSTERIOR, key=key), anchors, batch))
    )(keys)
    error = samples.std(axis=0) / np.sqrt(len(keys))
    closed = losses.anchor_loss(POSTERIOR, anchors, batch)
    assert np.all(np.abs(samples.mean(axis=0) - closed) <= 4 * error + 1e-5)


@batches
def test_gradients_are_the_numerical_ones(batch):
    @jax.jit
    def total(mean, logvar, logits, anchors):
        loss, _ = losses.pia_elbo(
            Posterior(mean, logvar), logits, batch, beta=0.3, anchors=anchors, anchor_weight=2.0, z=None
        )
        return jnp.mean(loss)

    arguments = (*POSTERIOR, jnp.asarray(VALUES["logits"]), jnp.asarray(VALUES["anchors"]))
    check_grads(total, arguments, order=1, modes=["rev"], atol=2e-2, rtol=2e-2, eps=1e-2)


def test_sparse_gradients_equal_dense_ones():
    def gradients(batch):
        def total(mean, logvar, logits, anchors):
            loss, _ = losses.pia_elbo(
                Posterior(mean, logvar), logits, batch, beta=0.3, anchors=anchors, anchor_weight=2.0, z=mean
            )
            return jnp.sum(loss * jnp.arange(1.0, B + 1))

        return jax.jit(jax.grad(total, argnums=(0, 1, 2, 3)))(
            *POSTERIOR, jnp.asarray(VALUES["logits"]), jnp.asarray(VALUES["anchors"])
        )

    dense = gradients(BATCHES["dense"])
    for name in ("sparse", "padded"):
        chex.assert_trees_all_close(gradients(BATCHES[name]), dense, rtol=1e-5, atol=1e-6)


@batches
def test_jit_changes_nothing(batch):
    def objective(batch):
        return losses.pia_elbo(
            POSTERIOR,
            jnp.asarray(VALUES["logits"]),
            batch,
            beta=0.3,
            anchors=jnp.asarray(VALUES["anchors"]),
            anchor_weight=2.0,
        )

    chex.assert_trees_all_close(jax.jit(objective)(batch), objective(batch), rtol=1e-6)


def test_a_masked_row_equals_a_sliced_one():
    batch = sparse_batch(ROWS, padding=3, padded_rows=2)
    logits = jnp.pad(jnp.asarray(VALUES["logits"]), ((0, 2), (0, 0)))
    nll = losses.multinomial_nll(logits, batch)
    np.testing.assert_array_equal(nll[:B], losses.multinomial_nll(logits[:B], BATCHES["sparse"]))
    np.testing.assert_array_equal(nll[B:], 0.0)


def test_values_follow_a_permutation_of_users():
    order = np.random.default_rng(2).permutation(B)
    permuted = sparse_batch(ROWS[order])
    logits = jnp.asarray(VALUES["logits"])
    np.testing.assert_allclose(
        losses.multinomial_nll(logits[order], permuted),
        losses.multinomial_nll(logits, BATCHES["sparse"])[order],
        rtol=1e-6,
    )


def test_nll_ignores_a_shift_of_the_logits_and_anchor_loss_a_shift_of_latent_space():
    batch, logits, anchors = BATCHES["sparse"], jnp.asarray(VALUES["logits"]), jnp.asarray(VALUES["anchors"])
    nll = losses.multinomial_nll(logits, batch)
    np.testing.assert_allclose(losses.multinomial_nll(logits + 5.0, batch), nll, rtol=1e-5, atol=1e-5)
    shifted = losses.anchor_loss(Posterior(POSTERIOR.mean + 3.0, POSTERIOR.logvar), anchors + 3.0, batch)
    np.testing.assert_allclose(shifted, losses.anchor_loss(POSTERIOR, anchors, batch), rtol=1e-5, atol=1e-4)


@batches
def test_empty_rows_cost_nothing_but_their_kl(batch):
    anchors, logits = jnp.asarray(VALUES["anchors"]), jnp.asarray(VALUES["logits"])
    assert losses.multinomial_nll(logits, batch)[0] == 0
    assert losses.anchor_loss(POSTERIOR, anchors, batch)[0] == 0
    np.testing.assert_array_equal(losses.anchor_centroid(anchors, batch)[0], 0.0)
    gradient = jax.grad(lambda mean: losses.anchor_loss(Posterior(mean, POSTERIOR.logvar), anchors, batch)[0])
    np.testing.assert_array_equal(gradient(POSTERIOR.mean), 0.0)


@batches
def test_huge_logits_stay_finite(batch):
    logits = 1e4 * jnp.asarray(VALUES["logits"])
    value, gradient = jax.value_and_grad(lambda logits: losses.multinomial_nll(logits, batch).sum())(logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@batches
def test_items_that_are_taken_out_have_no_share(batch):
    out = (ROWS == 0) & (np.arange(I) % 2 == 0)[None, :]
    nll = jax.jit(jax.value_and_grad(lambda logits: jnp.sum(losses.multinomial_nll(logits, batch))))
    value, gradient = nll(jnp.where(out, -jnp.inf, VALUES["logits"]))
    expected, expected_gradient = nll(jnp.where(out, -80.0, VALUES["logits"]))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_logits_of_half_precision_are_summed_in_single(dtype):
    rows = dense_rows([1, 300, 900], 1000)
    logits = jnp.asarray(np.random.default_rng(0).normal(size=rows.shape), dtype)
    for batch in (sparse_batch(rows, padding=5), jnp.asarray(rows)):
        value, pullback = jax.vjp(jax.jit(lambda logits, batch=batch: losses.multinomial_nll(logits, batch)), logits)
        expected, expected_pullback = jax.vjp(
            lambda logits, batch=batch: losses.multinomial_nll(logits, batch), logits.astype(jnp.float32)
        )
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        (gradient,), (expected_gradient,) = pullback(jnp.ones(3)), expected_pullback(jnp.ones(3))
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient.astype(jnp.float32), expected_gradient, rtol=8e-3, atol=1e-6)


def test_elbo_is_the_objective_without_anchors():
    batch, logits = BATCHES["sparse"], jnp.asarray(VALUES["logits"])
    elbo, _ = losses.elbo(POSTERIOR, logits, batch, beta=0.3)
    pia, _ = losses.pia_elbo(POSTERIOR, logits, batch, beta=0.3, anchors=jnp.ones((I, D)), anchor_weight=0.0)
    np.testing.assert_array_equal(elbo, pia)


def test_beta_may_differ_between_users():
    batch, logits = BATCHES["sparse"], jnp.asarray(VALUES["logits"])
    beta = jnp.arange(float(B))
    loss, terms = losses.elbo(POSTERIOR, logits, batch, beta=beta)
    np.testing.assert_allclose(loss, terms.nll + beta * terms.kl, rtol=1e-6)


def test_dense_nll_takes_counts():
    logits = jnp.asarray(VALUES["logits"])
    np.testing.assert_allclose(
        losses.multinomial_nll(logits, 3 * BATCHES["dense"]),
        3 * losses.multinomial_nll(logits, BATCHES["dense"]),
        rtol=1e-6,
    )


def test_no_sparse_loss_builds_a_dense_row_but_the_logits():
    """The lowered closed-form anchor loss has no array of B x I."""
    batch = BATCHES["padded"]
    assert isinstance(batch, SparseBatch)
    text = jax.jit(losses.anchor_loss).lower(POSTERIOR, jnp.asarray(VALUES["anchors"]), batch).as_text()
    assert f"tensor<{B}x{I}x" not in text


def test_a_divergence_from_another_prior_takes_the_place_of_the_closed_form():
    batch, logits = BATCHES["sparse"], jnp.asarray(VALUES["logits"])
    z = jnp.asarray(VALUES["z"])
    kl = priors.sampled_kl(POSTERIOR, z, priors.composite_log_density(z, POSTERIOR))
    beta = jnp.arange(float(B))
    loss, terms = losses.elbo(POSTERIOR, logits, batch, beta=beta, kl=kl)
    np.testing.assert_array_equal(terms.kl, kl)
    np.testing.assert_allclose(loss, terms.nll + beta * kl, rtol=1e-6)
    anchors = jnp.asarray(VALUES["anchors"])
    pia, pia_terms = losses.pia_elbo(
        POSTERIOR, logits, batch, beta=beta, kl=kl, anchors=anchors, anchor_weight=2.0, z=z
    )
    np.testing.assert_array_equal(pia_terms.kl, kl)
    np.testing.assert_allclose(pia, loss + 2.0 * losses.sampled_anchor_loss(z, anchors, batch), rtol=1e-6)


def test_a_divergence_that_is_not_one_value_a_user_is_refused():
    logits = jnp.asarray(VALUES["logits"])
    with pytest.raises(AssertionError):
        losses.elbo(POSTERIOR, logits, BATCHES["dense"], beta=1.0, kl=jnp.zeros(()))


OTHER = Posterior(*(jnp.asarray(draws(seed=5)[name]) for name in ("mean", "logvar")))
view_losses = pytest.mark.parametrize("view_loss", [losses.consistency_loss, losses.symmetric_kl_loss])


def test_distances_between_hand_made_views():
    # Means (3, 0) and (0, 4), standard deviations (1, 1) and (2, 1): 25 + 1.
    first = Posterior(jnp.array([[3.0, 0.0]]), jnp.zeros((1, 2)))
    second = Posterior(jnp.array([[0.0, 4.0]]), jnp.log(jnp.array([[4.0, 1.0]])))
    np.testing.assert_allclose(losses.consistency_loss(first, second), [26.0], rtol=1e-6)
    # N(0, 1) and N(1, 1): half a nat either way.
    first, second = (Posterior(jnp.full((1, 1), mean), jnp.zeros((1, 1))) for mean in (0.0, 1.0))
    np.testing.assert_allclose(losses.symmetric_kl_loss(first, second), [0.5], rtol=1e-6)


@pytest.mark.parametrize("scale", [0.01, 1.0, 5.0])
def test_distances_between_views_equal_scipy(scale):
    first, second = (jax.tree.map(lambda value: scale * value, view) for view in (POSTERIOR, OTHER))
    (mean, logvar), (other_mean, other_logvar) = (
        tuple(np.asarray(part, np.float64) for part in view) for view in (first, second)
    )
    wasserstein = []
    for row in range(B):
        # The general formula for Gaussians (Dowson & Landau 1982), with matrix square roots.
        one, two = np.diag(np.exp(logvar[row])), np.diag(np.exp(other_logvar[row]))
        root = scipy.linalg.sqrtm(one)
        trace = np.trace(one + two - 2 * scipy.linalg.sqrtm(root @ two @ root).real)
        wasserstein.append(((mean[row] - other_mean[row]) ** 2).sum() + trace)
    np.testing.assert_allclose(losses.consistency_loss(first, second), wasserstein, rtol=1e-5)
    one_way = oracle.kl_between(mean, logvar, other_mean, other_logvar)
    other_way = oracle.kl_between(other_mean, other_logvar, mean, logvar)
    np.testing.assert_allclose(losses.symmetric_kl_loss(first, second), (one_way + other_way) / 2, rtol=1e-5)


@view_losses
def test_distances_between_views_are_symmetric_and_zero_at_equality(view_loss):
    np.testing.assert_array_equal(view_loss(POSTERIOR, POSTERIOR), 0.0)
    np.testing.assert_allclose(view_loss(POSTERIOR, OTHER), jax.jit(view_loss)(OTHER, POSTERIOR), rtol=1e-6)
    moved, other_moved = (Posterior(view.mean + 2.0, view.logvar) for view in (POSTERIOR, OTHER))
    np.testing.assert_allclose(view_loss(moved, other_moved), view_loss(POSTERIOR, OTHER), rtol=1e-4)


@view_losses
def test_gradients_of_distances_between_views_are_the_numerical_ones(view_loss):
    check_grads(jax.jit(view_loss), (POSTERIOR, OTHER), order=1, modes=["rev"], atol=2e-2, rtol=2e-2, eps=1e-2)
