import jax
import numpy as np
import pytest
from batch_factory import dense_rows
from tiny_runs import NUM_ITEMS, TRAIN_USERS, tiny_config

from piavae_jax import masking
from piavae_jax.config import validate
from piavae_jax.report.latent import body_of, locate, nearest_items, spread_over_popularity
from piavae_jax.training.catalogue import Catalogue
from piavae_jax.training.recipes import build_recipe
from piavae_jax.training.restore import restore


def dense(rows):
    table = np.zeros((rows.num_rows, NUM_ITEMS), np.float32)
    for user, row in enumerate(table):
        row[rows.row(user)] = 1.0
    return jax.numpy.asarray(table)


@pytest.mark.parametrize("name", ["multvae", "multidae", "cdae", "warp", "hvamp"])
def test_the_body_of_each_model_scores_as_its_recipe(name):
    config = tiny_config()
    config.model.name, config.pia.enabled = name, False
    config.prior.pseudo_inputs = 5
    config.model.hidden = (16, 16) if name == "hvamp" else (16,)
    catalogue = Catalogue(np.full(NUM_ITEMS, 3), TRAIN_USERS)
    recipe, body = build_recipe(validate(config), catalogue), body_of(config, catalogue)

    @jax.jit  # one program compiles faster than every operation on its own
    def run(key, batch):
        params = recipe.init(key)
        z = body.encode(params, masking.encoder_input(batch)).mean
        return recipe.score(params, batch), body.decode(params, z), body.decode_factored(params, z)

    scores, logits, factors = run(jax.random.key(0), jax.numpy.asarray(dense_rows([3, 7], NUM_ITEMS)))
    features, kernel, bias = map(np.asarray, factors)
    assert kernel.shape[1] == NUM_ITEMS
    np.testing.assert_allclose(features @ kernel + bias, logits, rtol=1e-4, atol=1e-5)
    if name != "hvamp":  # which encodes the lower latent from the row, not from the upper one alone
        np.testing.assert_allclose(logits, scores, rtol=1e-4, atol=1e-5)


def test_users_are_at_their_posteriors_and_items_at_their_anchors(pia_run, dataset):
    trained = restore(pia_run)
    latent = locate(trained, dataset.test.input, batch_size=5)
    body = body_of(trained.run.config, trained.run.catalogue)
    encode = jax.jit(lambda params, rows: body.encode(params, masking.encoder_input(rows)))
    expected = jax.device_get(encode(trained.params, dense(dataset.test.input)))
    np.testing.assert_allclose(latent.users.mean, expected.mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(latent.items, trained.params["anchors"])
    assert latent.has_anchors
    assert latent.has_posterior
    variance = np.exp(expected.logvar)
    kl = 0.5 * np.sum(variance + np.square(expected.mean) - 1 - expected.logvar, axis=1).mean()
    assert latent.kl == pytest.approx(float(kl), rel=1e-4)


def test_a_fused_model_is_its_first_member(fused_run, pia_run, dataset):
    fused, alone = (locate(restore(run), dataset.test.input) for run in (fused_run, pia_run))
    np.testing.assert_array_equal(fused.users.mean, alone.users.mean)
    np.testing.assert_array_equal(fused.items, alone.items)


def test_a_code_is_no_posterior_and_has_no_anchors(code_run, dataset):
    latent = locate(restore(code_run), dataset.test.input)
    assert not latent.has_posterior
    assert not latent.has_anchors
    assert latent.items.shape == (NUM_ITEMS, 16)


def test_neighbours_against_brute_force():
    vectors = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    among = np.arange(9) != 7
    found = nearest_items(vectors + 100.0, np.array([2, 7]), k=3, among=among)  # a common offset changes nothing
    centred = vectors - vectors[among].mean(axis=0)
    for row in found:
        others = [item for item in range(9) if among[item] and item != row.item]

        def cosine(item, to=row.item):
            return centred[item] @ centred[to] / np.linalg.norm(centred[item]) / np.linalg.norm(centred[to])

        expected = sorted(others, key=cosine, reverse=True)[:3]
        assert row.items.tolist() == expected
        np.testing.assert_allclose(row.similarities, [cosine(item) for item in expected], atol=1e-4)


def test_fewer_items_than_neighbours_gives_all_of_them():
    (row,) = nearest_items(np.eye(3, dtype=np.float32), np.array([0]), k=5, among=np.ones(3, bool))
    assert sorted(row.items) == [1, 2]


def test_items_are_spread_from_popular_to_rare():
    train_users = np.random.default_rng(0).permutation(np.arange(1, 201))
    chosen = train_users[spread_over_popularity(train_users, count=6, at_least=100)]
    assert chosen[0] == 200
    assert chosen[-1] == 100
    assert (np.diff(chosen) < 0).all()
    assert len(spread_over_popularity(np.array([3, 1]), count=6, at_least=100)) == 2
