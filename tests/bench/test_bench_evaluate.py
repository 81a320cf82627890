import evaluate
import jax
import jax.numpy as jnp
import numpy as np
import numpy_evaluation as reference
import pytest

from piavae_jax.data.csr import CSR, from_pairs
from piavae_jax.data.prepared import HeldOut
from piavae_jax.evaluation import Evaluator
from piavae_jax.models.multvae import multvae
from piavae_jax.models.scoring import make_score_fn

USERS, I = 23, 150


def random_held_out() -> HeldOut:
    rng = np.random.default_rng(0)
    owned = rng.random((USERS, I)) < 0.2
    held = owned & (rng.random((USERS, I)) < 0.3)
    held[3] = False  # a user without targets
    rows = (from_pairs(*np.nonzero(dense), num_rows=USERS) for dense in (owned & ~held, held))
    return HeldOut(np.arange(USERS, dtype=np.int32), *rows)


def as_matrices(held_out: HeldOut):
    return (reference.to_matrix(rows, I) for rows in (held_out.input, held_out.target))


def test_the_reference_computes_the_same_metrics():
    held_out = random_held_out()
    shown, targets = as_matrices(held_out)
    scores = np.random.default_rng(1).normal(size=(USERS, I)).astype(np.float32)
    ours = Evaluator(held_out, num_items=I, batch_size=5).evaluate(evaluate.look_up, {"scores": jnp.array(scores)})
    theirs = reference.rank_all(scores, shown.toarray(), targets, batch_size=7)
    assert set(theirs) == set(ours.values)
    assert evaluate.check_agreement(ours.values, theirs) < 1e-6
    assert np.isnan(theirs["ndcg@100"][3])
    assert np.nanmin(theirs["ndcg@100"]) < np.nanmax(theirs["ndcg@100"])


def test_the_reference_computes_the_same_scores():
    held_out = random_held_out()
    shown, targets = as_matrices(held_out)
    model = multvae(I, hidden=(16,), latent_dim=4)
    params = model.init(jax.random.key(0))
    numpy_params = jax.tree.map(np.asarray, params)
    dense = shown.toarray()
    expected = make_score_fn(model)(params, jnp.asarray(dense))
    np.testing.assert_allclose(reference.multvae(numpy_params, dense), expected, atol=1e-6)
    scores = reference.multvae(numpy_params, dense)
    np.testing.assert_equal(
        reference.evaluate(numpy_params, shown, targets, batch_size=USERS),
        reference.rank_all(scores, dense, targets, batch_size=USERS),
    )


@pytest.mark.parametrize("wrong", [0.5 + 2e-6, np.nan])
def test_values_that_differ_are_refused(wrong):
    with pytest.raises(AssertionError, match="ndcg@100"):
        evaluate.check_agreement({"ndcg@100": np.array([0.1, 0.5])}, {"ndcg@100": np.array([0.1, wrong])})


def test_first_users():
    rows = CSR(np.array([0, 2, 2, 5]), np.arange(5, dtype=np.int32))
    part = HeldOut(np.arange(3, dtype=np.int32), rows, rows)
    taken = evaluate.first_users(part, 2)
    assert (taken.users.tolist(), taken.input.lengths.tolist(), taken.target.indices.tolist()) == (
        [0, 1],
        [2, 0],
        [0, 1],
    )
    assert len(evaluate.first_users(part, None).users) == len(evaluate.first_users(part, 9).users) == 3


def test_the_command_ends_with_its_figures(run):
    result = run(evaluate.main, "--shape", "tiny", "--users", "100", "--batch-size", "40", "--rounds", "1")
    assert result["largest_difference"] < 1e-6
    assert 0 < result["means"]["ndcg@100"] < 1
    keys = ("users_per_s", "numpy_users_per_s", "ratio", "ranking_ratio", "floor_users_per_s", "peak_rss_mb")
    assert all(result[key] > 0 for key in keys)
