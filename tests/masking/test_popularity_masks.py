import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batch_factory import dense_rows, sparse_batch
from hypothesis import given, settings
from hypothesis import strategies as st

from piavae_jax import UserError, masking
from piavae_jax.types import SparseInput

I = 12
ROWS = dense_rows([0, 1, 5, 12], I)
KEY = jax.random.key(3)
PROBS = jnp.linspace(0.1, 1.0, I)


def test_probabilities_of_hand_made_counts():
    # Weights 1 and 1/2, c = 0.5 / ((1 + 4/2) / 5) = 5/6.
    probs = masking.popularity_keep_probs([1, 4], keep_prob=0.5, power=0.5)
    np.testing.assert_allclose(probs, [5 / 6, 5 / 12], rtol=1e-6)
    # The rare item is clipped at 1; the popular ones make up for it: (0.9 * 9 - 1) / 8.
    probs = masking.popularity_keep_probs([1, 8], keep_prob=0.9, power=1.0)
    np.testing.assert_allclose(probs, [1.0, 7.1 / 8], rtol=1e-6)


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(0, 100_000), min_size=1, max_size=20).filter(any),
    keep_prob=st.floats(0.01, 1.0),
    power=st.floats(-2.0, 2.0),
)
def test_probabilities_have_the_mean_the_bounds_and_the_order_they_should(counts, keep_prob, power):
    counts = np.array(counts)
    probs = np.asarray(masking.popularity_keep_probs(counts, keep_prob=keep_prob, power=power), np.float64)
    assert (counts * probs).sum() / counts.sum() == pytest.approx(keep_prob, rel=1e-5)
    assert np.all((probs > 0) & (probs <= 1))
    by_count = probs[np.argsort(counts)]
    assert np.all(np.diff(by_count) * np.sign(power) <= 1e-6)
    free = (probs < 0.999) & (counts > 0)
    ratios = probs[free] * counts[free].astype(float) ** power
    np.testing.assert_allclose(ratios, ratios[:1].repeat(len(ratios)), rtol=1e-4)


def test_power_zero_and_keep_prob_one_are_plain():
    counts = np.array([5, 0, 900])
    np.testing.assert_allclose(masking.popularity_keep_probs(counts, keep_prob=0.3, power=0.0), 0.3, rtol=1e-6)
    np.testing.assert_array_equal(masking.popularity_keep_probs(counts, keep_prob=1.0, power=0.7), 1.0)


def test_the_data_keep_their_share_and_each_item_its_own():
    rows = (np.random.default_rng(0).random((4000, I)) < np.linspace(0.01, 0.9, I)).astype(np.float32)
    counts = rows.sum(axis=0)
    probs = masking.popularity_keep_probs(counts, keep_prob=0.5, power=0.5)
    kept = np.asarray(masking.popularity_mask(jnp.asarray(rows), keep_probs=probs, key=KEY)) & (rows > 0)
    probs = np.asarray(probs)
    assert np.all(np.abs(kept.sum(axis=0) / counts - probs) <= 4 * np.sqrt(probs * (1 - probs) / counts))
    np.testing.assert_allclose(kept.sum() / counts.sum(), 0.5, atol=4 * 0.5 / np.sqrt(counts.sum()))


def test_equal_probabilities_draw_the_bits_of_the_bernoulli_mask():
    batch = sparse_batch(ROWS, padding=3)
    np.testing.assert_array_equal(
        masking.popularity_mask(batch, keep_probs=jnp.full(I, 0.5), key=KEY),
        masking.bernoulli_mask(batch, keep_prob=0.5, key=KEY),
    )


def test_input_is_the_same_on_sparse_and_dense_rows_and_scaled_by_the_items_own_probability():
    kept = masking.popularity_mask(jnp.asarray(ROWS), keep_probs=PROBS, key=KEY)
    norms = np.maximum(np.sqrt(ROWS.sum(axis=1, keepdims=True)), 1)
    expected = ROWS * np.asarray(kept) / (np.asarray(PROBS) * norms)
    dense = masking.popularity_aware(jnp.asarray(ROWS), keep_probs=PROBS, key=KEY)
    np.testing.assert_allclose(dense, expected, rtol=1e-6)
    thin = jax.jit(masking.popularity_aware)(sparse_batch(ROWS, padding=4), keep_probs=PROBS, key=KEY)
    np.testing.assert_allclose(thin.values[:-4], expected[ROWS > 0], rtol=1e-6)
    np.testing.assert_array_equal(thin.values[-4:], 0.0)


@pytest.mark.parametrize("batch", [jnp.asarray(ROWS), sparse_batch(ROWS)], ids=["dense", "sparse"])
def test_an_item_may_be_hidden_always(batch):
    shown = masking.popularity_aware(batch, keep_probs=PROBS.at[3].set(0.0), key=KEY)
    values = shown.values if isinstance(shown, SparseInput) else shown
    assert np.isfinite(values).all()
    hidden = values[batch.items == 3] if isinstance(shown, SparseInput) else values[:, 3]
    np.testing.assert_array_equal(hidden, 0.0)


def test_the_masked_input_is_right_on_average():
    rows = jnp.asarray(ROWS)
    keys = jax.random.split(KEY, 4000)
    inputs = jax.jit(jax.vmap(lambda key: masking.popularity_aware(rows, keep_probs=PROBS, key=key)))(keys)
    error = np.asarray(inputs.std(axis=0) / np.sqrt(len(keys)))
    assert np.all(np.abs(inputs.mean(axis=0) - masking.encoder_input(rows)) <= 5 * error + 1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep_prob": 0.0, "power": 1.0}, r"keep_prob must be in \(0, 1\], got 0.0"),
        ({"keep_prob": 0.5, "power": np.inf}, "power must be a finite number, got inf"),
        ({"counts": [0, 0], "keep_prob": 0.5, "power": 1.0}, "counts must be numbers >= 0 with a sum above 0, got"),
        ({"counts": [-1, 2], "keep_prob": 0.5, "power": 1.0}, "counts must be numbers >= 0 with a sum above 0, got"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        masking.popularity_keep_probs(**{"counts": [1, 2], **arguments})
