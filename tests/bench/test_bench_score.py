import jax
import numpy as np
import pytest
import score


def test_a_small_run_gives_its_figures(run):
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam promotes
        result = run(score.main, "--users", "600", "--items", "200", "--k", "10", "--sample", "600", "--rounds", "1")
    keys = "users_per_s floor_users_per_s reference_users_per_s ratio_floor ratio_reference peak_rss_mb users items"
    assert all(result[key] > 0 for key in keys.split())
    assert 500 < result["users"] <= 600


def test_both_references_rank_alike(tmp_path):
    pytest.importorskip("torch")
    import dense_recommendation as reference

    from piavae_jax.models.multvae import multvae

    params = jax.tree.map(np.asarray, multvae(30, hidden=(8,), latent_dim=4).init(jax.random.key(0)))
    rows = (np.random.default_rng(0).random((9, 30)) < 0.2).astype(np.float32)
    items, scores = reference.torch_rank(params, 5)(rows)
    other_items, other_scores = reference.numpy_rank(params, 5)(rows)
    np.testing.assert_array_equal(items, other_items)
    np.testing.assert_allclose(scores, other_scores, rtol=1e-4, atol=1e-6)
