"""Every model through the same fit loop: it learns, repeats, resumes, and moves what it should."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import recipe_of, tiny_config, tiny_dataset

from piavae_jax import masking, sampling
from piavae_jax.config import validate
from piavae_jax.config.schema import MASKS
from piavae_jax.data.batches import gather_batch, to_device
from piavae_jax.data.prepared import load_prepared, write_prepared
from piavae_jax.errors import UserError
from piavae_jax.presets import PRESETS, preset
from piavae_jax.ranking_losses import warp_loss
from piavae_jax.training.curves import draw_curves
from piavae_jax.training.fit import fit
from piavae_jax.training.progress import describe_terms
from piavae_jax.training.recipes.parts import build_body
from piavae_jax.training.restore import restore
from piavae_jax.training.results import evaluate_run, make_run_evaluator
from piavae_jax.training.session import build_session
from piavae_jax.training.state import init_state

EPOCHS = {"recvae": 10, "recvae_pia": 10, "ract": 15}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tiny"
    write_prepared(tiny_dataset(), path)
    return load_prepared(path)


def small(name):
    """A preset at the size of the tiny data set."""
    config, tiny = preset(name), tiny_config()
    config.data, config.training = tiny.data, tiny.training
    config.seed = 5
    config.model.hidden = (16,) * len(config.model.hidden)
    config.model.latent_dim = 6
    config.prior.pseudo_inputs = 7
    config.pia.weight, config.pia.scale = 0.1, 1.0
    config.kl.total_steps = 1000
    config.optimizer.learning_rate = 1e-2
    config.stages.pretraining, config.stages.critic = (0, 0) if name == "lambdanet" else (10, 3)
    config.training.epochs = EPOCHS.get(name, 25)
    return validate(config)


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    """Runs of every preset, trained when first asked for."""
    runs = {}

    def run(name):
        if name not in runs:
            runs[name] = fit(small(name), dataset, tmp_path_factory.mktemp("runs") / name)
        return runs[name]

    return run


@pytest.fixture(scope="module", params=[name for name in PRESETS if name != "warpvae"])
def trained_name(request):
    """Each preset in turn, but for one that the next contains.

    Of module scope, it keeps the tests of one preset together, and so in one process.
    """
    return request.param


def test_learns_more_than_popularity(finished, dataset, trained_name):
    result = finished(trained_name)
    model, popularity = evaluate_run(result.run, result.session.recipe.score, result.params, dataset)
    assert model.summary("ndcg@100").mean > popularity.summary("ndcg@100").mean + 0.02
    assert result.records[-1]["epoch"] == EPOCHS.get(trained_name, 25)


def test_a_checkpoint_is_enough(finished, dataset, trained_name):
    result = finished(trained_name)
    trained = restore(result.run.path)
    chex.assert_trees_all_equal(trained.params, result.params)
    expected = result.session.validation.evaluate(result.session.recipe.score, result.params)
    users = make_run_evaluator(trained.run, dataset, split="validation").evaluate(trained.score, trained.params)
    np.testing.assert_array_equal(users["ndcg@100"], expected["ndcg@100"])
    assert users.summary("ndcg@100").mean == max(record["validation/ndcg@100"] for record in result.records)


@pytest.mark.parametrize("name", ["recvae_pia", "ract"])
def test_stopping_changes_no_bit(finished, dataset, tmp_path, name):
    whole, config = finished(name), small(name)
    config.training.epochs -= 3
    fit(config, dataset, tmp_path / "run")
    resumed = fit(small(name), dataset, tmp_path / "run")
    chex.assert_trees_all_equal(resumed.params, whole.params)
    timeless = [
        {key: value for key, value in record.items() if "second" not in key}
        for result in (whole, resumed)
        for record in result.records
    ]
    assert timeless[: len(whole.records)] == timeless[len(whole.records) :]


def test_its_terms_can_be_drawn_and_described(finished, tmp_path, trained_name):
    records = finished(trained_name).records
    draw_curves(records, tmp_path / "curves.png", title=trained_name)
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    for record in records:
        said = describe_terms(record)
        terms = {"nll", "kl", "anchor", "warp", "lambdarank", "critic"} & record.keys()
        assert terms
        assert all(f"{term} {record[term]:.2f}" in said for term in terms)


def moved(before, after):
    return {name for name in before if not _equal(before[name], after[name])}


def _equal(one, other):
    return all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), one, other)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("multvae_pia", {"joint": {"encoder", "decoder", "anchors"}}),
        ("recvae_pia", {"encoder": {"encoder", "anchors"}, "decoder": {"decoder"}}),
        ("hvamp", {"joint": {"encoder", "decoder", "prior"}}),
        ("cdae", {"reconstruction": {"encoder", "decoder", "users"}}),
        (
            "ract",
            {
                "actor": {"encoder", "decoder", "norm"},
                "critic": {"critic"},
                "actor and critic": {"encoder", "decoder", "critic"},
            },
        ),
    ],
)
def test_each_phase_moves_its_own_parameters(dataset, name, expected):
    session, config = build_session(small(name), dataset), small(name)
    start = init_state(session.recipe, config)
    order = jnp.arange(32, dtype=jnp.int32).reshape(2, 16)  # two steps: in the first beta is zero
    seen = {}
    for phase in session.recipe.phases:
        state, _ = session.run_steps[phase.name](
            jax.tree.map(jnp.copy, start), session.rows, order, session.capacity.batch
        )
        seen[phase.name] = moved(start.params, state.params)
    assert seen == expected


def test_recvae_takes_its_prior_from_the_encoder_before_the_decoder_passes(finished):
    result = finished("recvae")
    config = small("recvae")
    assert result.session.recipe.passes(1) == ("encoder", "encoder", "encoder", "decoder")
    begin = result.session.phase("decoder").begin
    params = begin(init_state(result.session.recipe, config).params)
    chex.assert_trees_all_equal(params["prior"], params["encoder"])
    assert jax.tree.leaves(params["prior"])[0] is not jax.tree.leaves(params["encoder"])[0]
    assert result.session.phase("encoder").begin is None


def test_stages_follow_one_another():
    config = small("ract")
    passes = recipe_of(config).passes
    assert [passes(epoch) for epoch in (1, 10, 11, 13, 14)] == [
        ("actor",),
        ("actor",),
        ("critic",),
        ("critic",),
        ("actor and critic",),
    ]


def test_the_critic_learns_what_ndcg_will_be(finished):
    records = finished("ract").records
    critic = [record["critic"] for record in records if "critic" in record]
    assert critic[-1] < critic[0]
    assert all(0 <= record["ndcg"] <= 1 for record in records if "ndcg" in record)


def variant(prior="normal", mask="bernoulli", reconstruction="multinomial"):
    config = small("multvae_pia")
    config.prior.kind, config.mask.kind, config.mask.consistency = prior, mask, 0.1
    config.model.reconstruction = reconstruction
    return validate(config)


@pytest.mark.parametrize(
    "choice",
    [
        {"prior": "composite"},
        {"prior": "vamp"},
        {"mask": "per_user"},
        {"mask": "popularity"},
        {"mask": "length"},
        {"mask": "complementary"},
        {"reconstruction": "warp"},
        {"reconstruction": "lambdarank"},
    ],
    ids=str,
)
def test_every_choice_gives_finite_gradients_to_all_that_moves(dataset, choice):
    config = variant(**choice)
    session = build_session(config, dataset)
    state = init_state(session.recipe, config)
    (phase,) = session.recipe.phases
    batch = gather_batch(to_device(dataset.train), jnp.arange(16, dtype=jnp.int32), capacity=512)

    @jax.jit
    def gradients(params):
        def total(params):
            loss, _ = phase.loss_fn(
                params, batch, beta=jnp.float32(0.2), anchor_weight=jnp.float32(0.1), key=jax.random.key(1)
            )
            return loss.sum()

        return jax.grad(total)(params)

    found = gradients(state.params)
    for name in phase.trained:
        flat = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(found[name])])
        assert bool(jnp.isfinite(flat).all())
        assert bool((flat != 0).any())
    assert set(state.params) - set(phase.trained) <= {"prior"}


def test_two_views_are_both_sides_of_one_mask(dataset):
    config = variant(mask="complementary")
    session = build_session(config, dataset)
    (phase,) = session.recipe.phases
    batch = gather_batch(to_device(dataset.train), jnp.arange(16, dtype=jnp.int32), capacity=512)
    arguments = {"beta": jnp.float32(0.2), "anchor_weight": jnp.float32(0.1), "key": jax.random.key(1)}
    params = init_state(session.recipe, config).params
    loss, terms = phase.loss_fn(params, batch, **arguments)
    assert terms._fields == ("nll", "kl", "anchor", "consistency")
    expected = terms.nll + 0.2 * terms.kl + 0.1 * terms.anchor + 0.1 * terms.consistency
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.name": "vae"}, r"config.model.name must be one of \('multvae', 'recvae', .*got 'vae'"),
        ({"model.name": "multidae"}, "config.pia.enabled must be False for multidae"),
        ({"model.name": "recvae", "model.hidden": (8, 9)}, "config.model.hidden must name layers of one size"),
        ({"model.name": "ract", "prior.kind": "vamp"}, "config.prior.kind must be normal for ract"),
        ({"mask.kind": "random"}, "config.mask.kind must be one of"),
        ({"mask.low": 0.0}, r"config.mask.low and high must be 0 < low <= high <= 1, got \(0.0, 1.0\)"),
        ({"kl.schedule": "none"}, "config.kl.schedule must be one of"),
        ({"alternation.encoder_passes": 3}, "config.alternation must name passes of both, or of neither"),
        ({"model.reconstruction": "mse"}, "config.model.reconstruction must be one of"),
        ({"model.name": "ract", "model.reconstruction": "warp"}, "config.model.reconstruction must be multinomial for"),
        (
            {"model.reconstruction": "warp", "training.item_block": 64},
            "config.training.item_block must be 0 for warp, got 64",
        ),
        (
            {"mask.kind": "complementary", "mask.keep_prob": 1.0},
            "config.mask.keep_prob must be below 1 for complementary masks, got 1.0",
        ),
        ({"fusion.members": 0}, "config.fusion.members must be a finite number >= 1, got 0"),
        ({"fusion.linear": "slim"}, "config.fusion.linear must be one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, message):
    config = tiny_config()
    for path, value in change.items():
        part, field = path.split(".")
        setattr(getattr(config, part), field, value)
    with pytest.raises(UserError, match=message):
        validate(config)


@pytest.mark.parametrize("name", ["hvamp", "multidae", "cdae", "ract", "lambdanet", "warp"])
def test_models_that_see_all_items_at_once_say_so(name):
    config = small(name)
    with pytest.raises(
        UserError, match=f"config.training.item_shards must be 1 for {name} with multinomial and a normal prior, got"
    ):
        recipe_of(config, item_axis="items")


@pytest.mark.parametrize("name", ["multidae", "cdae", "ract", "lambdanet", "warp"])
def test_losses_that_need_all_logits_say_so(name):
    config = small(name)
    config.training.item_block = 16
    with pytest.raises(UserError, match=f"config.training.item_block must be 0 for {name}, got 16"):
        recipe_of(config)


@pytest.mark.parametrize("kind", MASKS)
def test_a_recipe_of_any_mask_is_built_inside_a_trace(kind):
    config = small("multvae")
    config.mask.kind = kind
    jax.eval_shape(lambda: recipe_of(config).init(jax.random.key(0)))  # as for a warm start, and for item shards


def test_beta_per_user_holds_in_the_ranking_stage_too(dataset):
    batch = gather_batch(to_device(dataset.train), jnp.arange(16, dtype=jnp.int32), capacity=512)
    losses = []
    for per_user in (False, True):
        config = small("lambdanet")
        config.kl.per_user = per_user
        session = build_session(config, dataset)
        params = init_state(session.recipe, config).params
        ranking = session.phase("ranking")
        loss, terms = ranking.loss_fn(
            params, batch, beta=jnp.float32(0.1), anchor_weight=jnp.float32(0), key=jax.random.key(1)
        )
        losses.append(loss - terms.lambdarank)
    np.testing.assert_allclose(losses[1], losses[0] * batch.lengths, rtol=1e-3)


def test_an_unknown_preset_is_named():
    with pytest.raises(UserError, match=r"preset must be one of multvae, .* got 'easy'"):
        preset("easy")


def test_a_ranking_loss_takes_the_place_of_the_likelihood(dataset):
    config = variant(reconstruction="warp")
    session = build_session(config, dataset)
    (phase,) = session.recipe.phases
    batch = gather_batch(to_device(dataset.train), jnp.arange(16, dtype=jnp.int32), capacity=512)
    params, key = init_state(session.recipe, config).params, jax.random.key(1)
    _, terms = phase.loss_fn(params, batch, beta=jnp.float32(0.2), anchor_weight=jnp.float32(0.1), key=key)
    model, (mask_key, noise_key) = build_body(config, dataset.num_items), jax.random.split(key)
    posterior = model.encode(params, masking.bernoulli(batch, keep_prob=config.mask.keep_prob, key=mask_key))
    z = sampling.reparameterize(posterior, key=noise_key, users=batch.users)
    np.testing.assert_allclose(terms.nll, warp_loss(model.decode(params, z), batch), rtol=1e-4)
