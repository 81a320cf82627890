"""Several models as one: what it scores, what is chosen, what a folder is enough for."""

import json
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batch_factory import dense_rows, sparse_batch
from tiny_runs import tiny_config, tiny_dataset

from piavae_jax.baselines import edlae, full_rank_scores, pruned_scores, wmf
from piavae_jax.config import FusionConfig, PiaConfig, apply_settings, differences, from_dict, to_dict, validate
from piavae_jax.data.prepared import load_prepared, write_prepared
from piavae_jax.errors import UserError
from piavae_jax.presets import preset
from piavae_jax.serving import Recommender
from piavae_jax.training.ensemble import fit_fused
from piavae_jax.training.fusion import (
    FusedParams,
    FusedScore,
    choose_weight,
    fit_factors,
    fit_linear,
    kinds_of,
    like_factors,
    like_linear,
)
from piavae_jax.training.restore import restore
from piavae_jax.training.results import evaluate_run

ITEMS = 9


def scores_of(table, batch):
    """A scorer whose parameters are its scores."""
    return table[: batch.lengths.shape[0]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tiny"
    write_prepared(tiny_dataset(), path)
    return load_prepared(path)


def config_of(**fusion):
    config = tiny_config()
    config.training.epochs = 3
    config.fusion = FusionConfig(**{"members": 2, "linear": "edlae", "weights": (0.0, 2.0, 8.0)} | fusion)
    return validate(config)


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    return fit_fused(config_of(), dataset, tmp_path_factory.mktemp("runs") / "fused")


def test_scores_are_the_mean_log_softmax_plus_the_weighted_linear_score():
    generator = np.random.default_rng(0)
    batch = sparse_batch(dense_rows([2, 3], ITEMS), padding=3)
    first, second = generator.normal(size=(2, 2, ITEMS)).astype(np.float32)
    weights = generator.normal(size=(ITEMS, ITEMS)).astype(np.float32)
    params = FusedParams((jnp.asarray(first), jnp.asarray(second)), {"weights": jnp.asarray(weights)}, jnp.float32(1.5))
    logs = [row - np.log(np.exp(row).sum(axis=1, keepdims=True)) for row in (first, second)]
    expected = sum(logs) / 2 + 1.5 * dense_rows([2, 3], ITEMS) @ weights
    score = FusedScore((scores_of, scores_of), full_rank_scores)
    np.testing.assert_allclose(score(params, batch), expected, rtol=1e-5)
    shared = params._replace(shares=jnp.asarray([0.25, 0.75]))
    expected += 0.25 * logs[0] + 0.75 * logs[1] - sum(logs) / 2
    np.testing.assert_allclose(score(shared, batch), expected, rtol=1e-5)
    factors = generator.normal(size=(2, ITEMS)).astype(np.float32)
    both = shared._replace(factors=jnp.asarray(factors), factor_weight=jnp.float32(2.0))
    score = FusedScore((scores_of, scores_of), full_rank_scores, scores_of)
    np.testing.assert_allclose(score(both, batch), expected + 2 * factors, rtol=1e-5)
    alone = FusedParams((jnp.asarray(first),), None, jnp.float32(0.0))
    np.testing.assert_allclose(FusedScore((scores_of,))(alone, batch), logs[0], rtol=1e-5)


def test_the_best_weight_is_chosen_and_the_first_among_equals(finished):
    evaluator = finished.members[0].session.validation
    params, choices = choose_weight(
        finished.score, finished.params, evaluator, weights=(4.0, 0.0, 4.0), metric="ndcg@100"
    )
    reached = [choice.metric for choice in choices]
    assert [choice.weight for choice in choices] == [4.0, 0.0]  # each is evaluated once
    assert float(params.weight) == choices[int(np.argmax(reached))].weight
    best = evaluator.evaluate(finished.score, params).summary("ndcg@100").mean
    assert best == max(reached)


def test_what_is_fused_is_what_its_folder_holds(finished, dataset):
    config = config_of()
    assert [member.run.config.seed for member in finished.members] == [config.seed, config.seed + 1]
    expected = edlae(dropout=0.33, regularization=300.0).fit(dataset.train, dataset.num_items)["weights"]
    np.testing.assert_allclose(finished.params.linear["weights"], expected, rtol=1e-6)
    for mine, member in zip(finished.params.members, finished.members, strict=True):
        chex.assert_trees_all_equal(mine, member.params)
    trained = restore(finished.run.path)
    chex.assert_trees_all_equal(trained.params, finished.params)
    again, _ = evaluate_run(trained.run, trained.score, trained.params, dataset)
    before, _ = evaluate_run(finished.run, finished.score, finished.params, dataset)
    np.testing.assert_array_equal(again["ndcg@100"], before["ndcg@100"])


def test_the_members_folders_are_not_needed_to_score(finished, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(finished.run.path, moved, ignore=shutil.ignore_patterns("members"))
    chex.assert_trees_all_equal(restore(moved).params, finished.params)


def test_called_again_it_trains_only_what_is_missing(finished, dataset, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished.run.path, copy)
    shutil.rmtree(copy / "fusion")
    shutil.rmtree(copy / "members" / "4")
    first = json.loads((copy / "members" / "3" / "metrics.jsonl").read_text().splitlines()[0])
    resumed = fit_fused(config_of(), dataset, copy)
    chex.assert_trees_all_equal(resumed.params, finished.params)
    assert json.loads((copy / "members" / "3" / "metrics.jsonl").read_text().splitlines()[0]) == first


def test_a_finished_model_is_read_not_fitted(finished, dataset, monkeypatch):
    monkeypatch.setattr("piavae_jax.training.ensemble.fit_linear", None)
    again = fit_fused(config_of(), dataset, finished.run.path)
    chex.assert_trees_all_equal(again.params, finished.params)
    assert again.choices == finished.choices
    assert again.linear_seconds == finished.linear_seconds > 0


def test_another_config_is_refused(finished, dataset):
    with pytest.raises(UserError, match=r"was trained with config.fusion.regularization=300.0, now it is 7.0"):
        fit_fused(config_of(regularization=7.0), dataset, finished.run.path)


def test_a_finished_model_is_not_trained_on(finished, dataset):
    config = config_of()
    epochs = config.training.epochs
    config.training.epochs += 1
    lines = [member.run.metrics_file.read_text() for member in finished.members]
    with pytest.raises(UserError, match=rf"is a finished fusion .* config.training.epochs={epochs}, now it is"):
        fit_fused(config, dataset, finished.run.path)
    assert [member.run.metrics_file.read_text() for member in finished.members] == lines


def test_an_unfinished_model_cannot_be_restored(finished, tmp_path):
    unfinished = tmp_path / "unfinished"
    shutil.copytree(finished.run.path, unfinished, ignore=shutil.ignore_patterns("fusion"))
    with pytest.raises(UserError, match="its training has not ended"):
        restore(unfinished)


def test_a_damaged_model_is_reported(finished, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(finished.run.path, damaged)
    for file in (damaged / "fusion").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read"):
        restore(damaged)


@pytest.mark.parametrize("linear", ["ease", "edlae"])
def test_a_pruned_model_keeping_all_scores_like_a_whole_one(dataset, linear):
    batch = sparse_batch(dense_rows([3, 1, 5], dataset.num_items))
    whole = fit_linear(FusionConfig(linear=linear), dataset.train, dataset.num_items)
    pruned = fit_linear(FusionConfig(linear=linear, keep=dataset.num_items), dataset.train, dataset.num_items)
    np.testing.assert_allclose(pruned_scores(pruned, batch), full_rank_scores(whole, batch), atol=1e-5)


@pytest.mark.parametrize("keep", [0, 5])
def test_shapes_are_known_before_anything_is_fitted(dataset, keep):
    fusion = FusionConfig(linear="ease", keep=keep)
    like = like_linear(fusion, dataset.num_items)
    fitted = fit_linear(fusion, dataset.train, dataset.num_items)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), fitted) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), like
    )


def test_factors_that_do_not_help_are_left_out(dataset, tmp_path):
    config = config_of(members=1, linear="none", factors="wmf", factor_dim=2, factor_weights=(-100.0,))
    result = fit_fused(config, dataset, tmp_path / "alone")
    assert [choice.factor_weight for choice in result.choices] == [0.0, -100.0]
    assert (result.params.factors, result.params.factor_weight) == (None, None)
    trained = restore(tmp_path / "alone")
    chex.assert_trees_all_equal(trained.params, result.params)
    again, _ = evaluate_run(trained.run, trained.score, trained.params, dataset)
    alone, _ = evaluate_run(result.run, result.members[0].session.recipe.score, result.members[0].params, dataset)
    np.testing.assert_array_equal(again["ndcg@100"], alone["ndcg@100"])


def test_shapes_of_factors_are_known_before_anything_is_fitted(dataset):
    fusion = FusionConfig(factors="wmf", factor_dim=5)
    fitted = fit_factors(fusion, dataset.train, dataset.num_items)
    chex.assert_trees_all_equal_shapes_and_dtypes(fitted, like_factors(fusion, dataset.num_items))


def test_an_ensemble_needs_no_linear_model(dataset, tmp_path):
    result = fit_fused(config_of(linear="none"), dataset, tmp_path / "ensemble")
    assert result.params.linear is None
    chex.assert_trees_all_equal(restore(tmp_path / "ensemble").params, result.params)


RECVAE = {
    "model.name": "recvae",
    "model.hidden": (8, 8),
    "pia.enabled": False,
    "prior.kind": "composite",
    "alternation.encoder_passes": 1,
    "alternation.decoder_passes": 1,
}


@pytest.fixture(scope="module")
def kinds(dataset, tmp_path_factory):
    return fit_fused(config_of(others=(RECVAE,)), dataset, tmp_path_factory.mktemp("runs") / "kinds")


def test_models_of_several_kinds_are_fused(kinds, dataset):
    members = [member.run.config for member in kinds.members]
    assert [(member.model.name, member.seed) for member in members] == [
        ("multvae", 3), ("multvae", 4), ("recvae", 3), ("recvae", 4),
    ]  # fmt: skip
    assert {path.name for path in (kinds.run.path / "members").glob("[0-9]*")} == {"3", "4", "1-3", "1-4"}
    trained = restore(kinds.run.path)
    chex.assert_trees_all_equal(trained.params, kinds.params)
    again, _ = evaluate_run(trained.run, trained.score, trained.params, dataset)
    before, _ = evaluate_run(kinds.run, kinds.score, kinds.params, dataset)
    np.testing.assert_array_equal(again["ndcg@100"], before["ndcg@100"])


def test_items_are_similar_in_the_mean_over_all_kinds(kinds):
    recommender = Recommender.from_run(kinds.run.path)
    item = kinds.run.vocabulary["item_id"][2]
    found = recommender.similar_items(item, recommender.num_items - 1)
    layers = [jax.tree.leaves(member.params["decoder"]) for member in kinds.members]
    kernels = [[leaf for leaf in leaves if leaf.ndim == 2][-1] for leaves in layers]
    cosines = np.mean([[_cosine(kernel.T[2], row) for row in kernel.T] for kernel in kernels], axis=0)
    expected = kinds.run.vocabulary["item_id"].to_numpy()[[n for n in np.argsort(-cosines) if n != 2]]
    assert found["item_id"].to_list() == list(expected)


def _cosine(first, second):
    return first @ second / np.linalg.norm(first) / np.linalg.norm(second)


def test_shares_are_chosen_with_the_weight(kinds):
    evaluator = kinds.members[0].session.validation
    tried = [(choice.shares, choice.weight) for choice in kinds.choices]
    assert tried[:3] == [((0.5, 0.5), weight) for weight in (0.0, 2.0, 8.0)]
    first = max(kinds.choices[:3], key=lambda choice: choice.metric)
    shares = [(0.0, 1.0), (0.25, 0.75), (0.75, 0.25), (1.0, 0.0)]  # the equal ones have been tried
    assert tried[3:7] == [(own, first.weight) for own in shares]
    second = max(kinds.choices[:7], key=lambda choice: choice.metric)
    assert set(tried[7:]) <= {(second.shares, weight) for weight in (0.0, 2.0, 8.0)}
    best = max(kinds.choices, key=lambda choice: choice.metric)
    assert float(kinds.params.weight) == best.weight
    np.testing.assert_array_equal(kinds.params.shares, np.repeat(best.shares, 2) / 2)  # two seeds of each kind
    assert evaluator.evaluate(kinds.score, kinds.params).summary("ndcg@100").mean == best.metric


def test_a_model_of_several_kinds_is_read_when_it_is_finished(kinds, dataset, monkeypatch):
    monkeypatch.setattr("piavae_jax.training.ensemble.fit_linear", None)
    again = fit_fused(config_of(others=(RECVAE,)), dataset, kinds.run.path)
    chex.assert_trees_all_equal(again.params, kinds.params)
    assert again.choices == kinds.choices


def test_kinds_need_no_linear_model(dataset, tmp_path):
    result = fit_fused(config_of(members=1, linear="none", others=({"kl.cap": 0.0},)), dataset, tmp_path / "kinds")
    assert {choice.shares for choice in result.choices} == {(n / 4, 1 - n / 4) for n in range(5)}
    chex.assert_trees_all_equal(restore(tmp_path / "kinds").params, result.params)


def test_a_factor_model_is_fused_last(dataset, tmp_path):
    config = config_of(
        members=1, others=({"kl.cap": 0.0},), factors="wmf", factor_dim=6, factor_unobserved_weight=0.3,
        factor_regularization=0.02, factor_weights=(1.0, 4.0), weights=(0.0, 0.1),
    )  # fmt: skip
    result = fit_fused(config, dataset, tmp_path / "all")
    expected = wmf(dim=6, regularization=0.02, unobserved_weight=0.3).fit(dataset.train, dataset.num_items)
    chex.assert_trees_all_close(result.params.factors, expected, rtol=1e-6)
    choices = result.choices
    before = [choice for choice in choices if choice.factor_weight == 0]
    assert before == choices[: len(before)]
    first = max(before, key=lambda choice: choice.metric)
    swept = choices[len(before) : len(before) + 2]
    assert [choice[::2] for choice in swept] == [(first.weight, first.shares)] * 2
    assert [choice.factor_weight for choice in swept] == [1.0, 4.0]
    second = max(swept, key=lambda choice: choice.metric)
    assert second.metric > first.metric  # else the third sweep would have nothing to try
    assert {(weight, *second[2:]) for weight in (0.0, 0.1)} == {
        (choice.weight, *choice[2:])
        for choice in choices[len(before) :]
        if choice.factor_weight == second.factor_weight
    }
    best = max(choices, key=lambda choice: choice.metric)
    assert (float(result.params.weight), float(result.params.factor_weight)) == (best.weight, best.factor_weight)
    reached = result.members[0].session.validation.evaluate(result.score, result.params)
    assert reached.summary("ndcg@100").mean == best.metric
    trained = restore(tmp_path / "all")
    chex.assert_trees_all_equal(trained.params, result.params)
    assert fit_fused(config, dataset, tmp_path / "all").choices == choices
    again, _ = evaluate_run(trained.run, trained.score, trained.params, dataset)
    now, _ = evaluate_run(result.run, result.score, result.params, dataset)
    np.testing.assert_array_equal(again["ndcg@100"], now["ndcg@100"])


def test_a_config_that_goes_on_is_the_one_that_the_folder_has(finished, dataset, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished.run.path, copy)
    config = config_of()
    config.data.path = "moved"
    fit_fused(config, dataset, copy)
    assert json.loads((copy / "config.json").read_text())["data"]["path"] == "moved"


def test_several_processes_are_refused_before_anything_is_written(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match="a fused model is trained by one process, got 2"):
        fit_fused(config_of(), dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fusion", "message"),
    [
        ({"linear": "ease", "regularization": 0.0}, "config.fusion.regularization must be above 0 for ease, got 0.0"),
        ({"dropout": 0.0, "regularization": 0.0}, "config.fusion.regularization must be above 0 for edlae, got 0.0"),
        ({"factors": "mf"}, "config.fusion.factors must be one of"),
        ({"factor_dim": 0}, "config.fusion.factor_dim must be a finite number >= 1, got 0"),
        ({"factor_regularization": 0.0}, "config.fusion.factor_regularization must be a finite number above 0"),
        (
            {"factor_unobserved_weight": float("inf")},
            "config.fusion.factor_unobserved_weight must be a finite number above 0",
        ),
        ({"factor_weights": ()}, "config.fusion.factor_weights must be at least one finite number"),
    ],
)
def test_what_linear_and_factor_models_must_be(fusion, message):
    with pytest.raises(UserError, match=message):
        config_of(**fusion)


def test_another_kind_is_what_differs():
    own, other = preset("warpvae_pia"), preset("recvae_pia")
    own.data.path = "data"
    config = apply_settings(own, {"fusion.others": (differences(other, own),)})
    first, second = kinds_of(config)
    other.data.path = "data"
    assert to_dict(first) == to_dict(own)
    assert to_dict(second) == {**to_dict(other), "name": own.name}
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (({"kl.gap": 1.0},), "kl.gap is no field of the config"),
        (({"kl.cap": -1.0},), "config.kl.cap must be"),
        (({"model.name": "multidae", "pia.enabled": False, "mask.kind": "complementary"},), "config.mask.kind must be"),
    ],
)
def test_what_another_kind_may_not_say(dataset, tmp_path, others, message):
    with pytest.raises(UserError, match=message):
        fit_fused(config_of(others=others), dataset, tmp_path / "bad")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (("recvae",), "config.fusion.others must be a tuple, each entry a dictionary"),
        (({},), "config.fusion.others must differ from the config in something"),
        (({1: 2},), "config.fusion.others must name fields of the config, got 1"),
        (({"seed": 1},), "config.fusion.others must leave to the config itself what all kinds share, got 'seed'"),
        (({"fusion.members": 2},), "must leave to the config itself what all kinds share, got 'fusion.members'"),
        (({"training.item_shards": 2},), "what all kinds share, got 'training.item_shards'"),
        (({"pia": PiaConfig()},), "config.fusion.others: pia must be a number, a text or a tuple"),
    ],
)
def test_what_others_must_be(others, message):
    with pytest.raises(UserError, match=message):
        config_of(others=others)


def test_lists_in_others_are_tuples_as_everywhere():
    config = config_of(others=({"model.hidden": [8]},))
    assert config.fusion.others == ({"model.hidden": (8,)},)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_a_kind_that_cannot_be_built_is_refused_before_another_is_trained(dataset, tmp_path):
    config = config_of(others=({"model.name": "multidae", "pia.enabled": False},))
    config.training.item_block = 8
    with pytest.raises(UserError, match="item_block"):
        fit_fused(config, dataset, tmp_path / "bad")
    assert list(tmp_path.iterdir()) == []
