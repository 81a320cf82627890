"""Real systems on the tiny data set."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from fakes import TINY, D, H
from tiny_runs import NUM_ITEMS, TRAIN_USERS

from piavae_jax.baselines import BASELINES, choose, popularity_scores
from piavae_jax.baselines.registry import Entry
from piavae_jax.benchmark import fusing as fusing_module
from piavae_jax.benchmark import linear as linear_module
from piavae_jax.benchmark import neural as neural_module
from piavae_jax.benchmark.fusing import fused
from piavae_jax.benchmark.neural import neural
from piavae_jax.benchmark.records import read_record, run_path
from piavae_jax.benchmark.registry import SYSTEMS, UPLIFTS, choose_systems
from piavae_jax.benchmark.runner import run_systems
from piavae_jax.benchmark.sized_config import LARGE, sized_config
from piavae_jax.config import ExperimentConfig, validate
from piavae_jax.data.csr import CSR, item_counts
from piavae_jax.errors import UserError
from piavae_jax.presets import preset
from piavae_jax.training import run_folder
from piavae_jax.training.ensemble import fit_fused
from piavae_jax.training.epoch import NonFiniteLoss
from piavae_jax.training.restore import restore
from piavae_jax.training.results import evaluate_run
from piavae_jax.training.session import make_evaluator


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """A finished run of Multi-VAE + PIA: its folder and its outcome."""
    from rich.console import Console

    folder = tmp_path_factory.mktemp("neural")
    system = neural("pia", "PIA", preset="multvae_pia", settings=TINY)
    return folder, system.run(dataset, folder, 1, Console(quiet=True))


def test_a_trained_system_is_measured_at_its_best_epoch(trained, dataset):
    folder, outcome = trained
    run, model, params = restore(folder / "run")
    for split in ("validation", "test"):
        expected, _ = evaluate_run(run, model, params, dataset, split=split)
        np.testing.assert_array_equal(getattr(outcome, split)["ndcg@100"], expected["ndcg@100"])
    records = run_folder.read_metrics(run)
    best = max(records, key=lambda record: record["validation/ndcg@100"])
    assert outcome.settings["best_epoch"] == best["epoch"]
    np.testing.assert_allclose(outcome.validation.summary("ndcg@100").mean, best["validation/ndcg@100"], rtol=1e-6)
    assert outcome.train_seconds == pytest.approx(sum(record["train_seconds"] for record in records))


def test_its_settings_are_those_of_the_run(trained, dataset):
    folder, outcome = trained
    config = run_folder.load(folder / "run").config
    assert (config.name, config.seed, config.data.path) == ("pia", 1, str(dataset.path))
    assert (config.model.hidden, config.training.epochs) == ((H,), 3)
    assert outcome.settings["config"]["pia"]["weight"] == config.pia.weight == 0.5
    assert outcome.settings["chosen"] == {}


def test_parameters_are_those_of_the_model_without_anchors(trained):
    _, outcome = trained
    layers = [(NUM_ITEMS, H), (H, 2 * D), (D, H), (H, NUM_ITEMS)]
    assert outcome.parameters == sum(rows * columns + columns for rows, columns in layers)


def test_a_run_that_was_stopped_before_its_outcome_is_not_trained_again(trained, dataset, console):
    folder, outcome = trained
    before = (folder / "run" / "metrics.jsonl").read_text()
    again = neural("pia", "PIA", preset="multvae_pia", settings=TINY).run(dataset, folder, 1, console)
    assert (folder / "run" / "metrics.jsonl").read_text() == before
    np.testing.assert_array_equal(again.test["ndcg@100"], outcome.test["ndcg@100"])
    assert again[2:] == outcome[2:]


def test_a_run_that_is_done_is_not_even_looked_at(dataset, tmp_path, console, monkeypatch):
    system = neural("tiny", "Tiny", preset="multvae_pia", settings=TINY)
    run_systems([system], dataset, tmp_path, seeds=1, console=console)
    monkeypatch.setattr(neural_module, "fit", lambda *_, **__: pytest.fail("it is trained again"))
    run_systems([system], dataset, tmp_path, seeds=1, console=console)
    assert "1 of 1 runs are done already" in console.file.getvalue()


def test_what_training_did_not_measure_is_not_reported_but_measured_again(dataset, tmp_path, monkeypatch, console):
    system = neural("tiny", "Tiny", preset="multvae_pia", settings=TINY)

    def damaged(workdir):
        trained = restore(workdir)
        return trained._replace(params=jax.tree.map(jnp.zeros_like, trained.params))

    with monkeypatch.context() as patch:
        patch.setattr(neural_module, "restore", damaged)
        run_systems([system], dataset, tmp_path, seeds=1, console=console)
    record = read_record(run_path(tmp_path, "tiny", 0))
    assert re.match(
        r"FloatingPointError: the validation ndcg@100 must be the one that .* or delete .*run to train anew",
        record.error,
    )
    run_systems([system], dataset, tmp_path, seeds=1, console=console)
    assert read_record(run_path(tmp_path, "tiny", 0)).outcome is not None


def test_a_grid_is_decided_on_validation_users(dataset, tmp_path, console):
    spreads = {"pia.anchor_std": (1e38, 0.01, 1.0)}  # the first diverges: its squares overflow
    outcome = neural("tuned", "Tuned", preset="multvae_pia", settings=TINY, grid=spreads).run(
        dataset, tmp_path, 0, console
    )
    found = {}
    for spread in (0.01, 1.0):
        records = run_folder.read_metrics(run_folder.load(tmp_path / "run" / f"pia.anchor_std={spread}"))
        found[spread] = max(record["validation/ndcg@100"] for record in records)
    best = max(found, key=lambda spread: found[spread])
    assert found[0.01] != found[1.0]
    assert outcome.settings["chosen"] == {"pia.anchor_std": best}
    assert outcome.settings["config"]["pia"]["anchor_std"] == best
    np.testing.assert_allclose(outcome.validation.summary("ndcg@100").mean, found[best], rtol=1e-6)


def test_a_system_whose_every_setting_diverges_fails(dataset, tmp_path, console):
    system = neural("bad", "Bad", preset="multvae_pia", settings=TINY, grid={"pia.anchor_std": (1e38,)})
    with pytest.raises(NonFiniteLoss):
        system.run(dataset, tmp_path, 0, console)


def test_popularity_is_what_its_scores_say(dataset, tmp_path, console):
    outcome = SYSTEMS["popularity"].run(dataset, tmp_path, 0, console)
    counts = item_counts(dataset.train, NUM_ITEMS).astype(np.float32)
    for split in ("validation", "test"):
        evaluator = make_evaluator(ExperimentConfig(), getattr(dataset, split), dataset)
        np.testing.assert_array_equal(
            getattr(outcome, split)["recall@20"], evaluator.evaluate(popularity_scores, counts)["recall@20"]
        )
    assert (outcome.parameters, outcome.settings) == (NUM_ITEMS, {})


def test_baselines_keep_the_best_setting_on_validation(dataset, tmp_path, console):
    outcome = SYSTEMS["ease"].run(dataset, tmp_path, 0, console)
    choice = choose("ease", dataset)
    assert outcome.settings == choice.settings
    assert outcome.parameters == NUM_ITEMS**2
    for row in choice.table.iter_rows(named=True):
        assert f"regularization {row['regularization']:g}  nDCG@100 {row['ndcg@100']:.4f}" in console.file.getvalue()
    evaluator = make_evaluator(ExperimentConfig(), dataset.test, dataset)
    expected = evaluator.evaluate(choice.baseline.score, choice.params)
    np.testing.assert_array_equal(outcome.test["ndcg@100"], expected["ndcg@100"])


def test_test_users_have_no_influence_on_the_choice(dataset, tmp_path, console):
    swapped = dataclasses.replace(dataset, test=dataset.validation)
    ours, theirs = (SYSTEMS["ease"].run(data, tmp_path, 0, console) for data in (dataset, swapped))
    assert ours.settings == theirs.settings
    np.testing.assert_array_equal(theirs.test["ndcg@100"], ours.validation["ndcg@100"])


@pytest.fixture
def folder(tmp_path):
    """Where a benchmark puts a run; what it finds for all runs lies beside the system."""
    return run_path(tmp_path, "fused", 0)


def test_a_fused_system_is_measured_as_its_folder_scores(dataset, folder, console):
    system = fused("both", "Both", presets=("multvae_pia",), linear="edlae_weighted", members=2, settings=TINY)
    outcome = system.run(dataset, folder, 1, console)
    trained = restore(folder / "run")
    expected, _ = evaluate_run(trained.run, trained.score, trained.params, dataset)
    np.testing.assert_array_equal(outcome.test["ndcg@100"], expected["ndcg@100"])
    assert sorted(path.name for path in (folder / "run" / "members").glob("[0-9]*")) == ["2", "3"]
    fusion = trained.run.config.fusion
    assert choose("edlae_weighted", dataset).settings == {
        name: getattr(fusion, name) for name in ("activity_exponent", "dropout", "regularization")
    }
    best = max(outcome.settings["validation"], key=lambda choice: choice["metric"])
    assert outcome.settings["weight"] == best["weight"]
    layers = [(NUM_ITEMS, H), (H, 2 * D), (D, H), (H, NUM_ITEMS)]
    vae = sum(rows * columns + columns for rows, columns in layers)
    assert outcome.parameters == 2 * vae + NUM_ITEMS**2


def test_a_fused_system_is_not_reported_by_what_its_weights_did_not_reach(dataset, folder, monkeypatch, console):
    system = fused("both", "Both", presets=("multvae_pia",), linear="ease", settings={**TINY, "training.epochs": 1})

    def damaged(*arguments, **options):
        result = fit_fused(*arguments, **options)
        return result._replace(params=jax.tree.map(jnp.zeros_like, result.params))

    monkeypatch.setattr(fusing_module, "fit_fused", damaged)
    with pytest.raises(FloatingPointError, match="the validation ndcg@100 must be the one that the model was chosen"):
        system.run(dataset, folder, 0, console)


def test_a_fused_system_with_factors_has_the_best_of_their_grid(dataset, folder, console, monkeypatch):
    grid = {"dim": (8, 16), "unobserved_weight": (0.1, 1.0), "regularization": (0.003, 0.03)}
    monkeypatch.setitem(BASELINES, "wmf", Entry(BASELINES["wmf"].make, grid))  # the whole one takes seconds
    wmf = choose("wmf", dataset)
    settings = {**TINY, "fusion.weights": (0.0, 8.0), "fusion.factor_weights": (2.0,)}
    system = fused("all", "All", presets=("multvae_pia",), linear="ease", factors="wmf", settings=settings)
    assert set(system.needs) == {"ease", "wmf", "multvae_pia"}
    outcome = system.run(dataset, folder, 0, console)
    fusion = run_folder.load(folder / "run").config.fusion
    found = {
        "dim": fusion.factor_dim,
        "regularization": fusion.factor_regularization,
        "unobserved_weight": fusion.factor_unobserved_weight,
    }
    assert wmf.settings == found
    best = max(outcome.settings["validation"], key=lambda choice: choice["metric"])
    assert outcome.settings["factor_weight"] == best["factor_weight"]
    layers = [(NUM_ITEMS, H), (H, 2 * D), (D, H), (H, NUM_ITEMS)]
    vae = sum(rows * columns + columns for rows, columns in layers)
    factors = NUM_ITEMS * fusion.factor_dim + 3 if best["factor_weight"] else 0  # WMF's scalars are three
    assert outcome.parameters == vae + NUM_ITEMS**2 + factors


def test_a_fused_system_takes_over_what_the_benchmark_has_found_and_trained(dataset, tmp_path, console, monkeypatch):
    settings = {**TINY, "training.epochs": 2}
    member = neural("multvae_pia", "PIA", settings=settings)
    run_systems([SYSTEMS["ease"], member], dataset, tmp_path, seeds=1, console=console)
    chosen = choose("ease", dataset).settings
    monkeypatch.setattr(linear_module, "choose", lambda *_, **__: pytest.fail("it is searched again"))
    fusion = fused("both", "Both", presets=("multvae_pia",), linear="ease", settings=settings)
    folder = tmp_path / "both" / "seed-0"
    fusion.run(dataset, folder, 0, console)
    assert run_folder.load(folder / "run").config.fusion.regularization == chosen["regularization"]
    alone, taken = (
        (path / "metrics.jsonl").read_text()
        for path in (tmp_path / "multvae_pia" / "seed-0" / "run", folder / "run" / "members" / "0")
    )
    assert taken == alone  # seconds of each epoch and all


def test_a_grid_is_searched_once_for_all_fusions(dataset, tmp_path, monkeypatch):
    found = linear_module.chosen_settings("ease", dataset, tmp_path)
    assert found.keys() == {"regularization"}
    monkeypatch.setattr(linear_module, "_search", None)
    assert linear_module.chosen_settings("ease", dataset, tmp_path) == found
    assert not (run_path(tmp_path, "ease", 0) / "outcome.json").exists()


def test_a_large_catalogue_has_a_grid_of_its_own(dataset, tmp_path, console, monkeypatch):
    class Searched(Exception):
        pass

    def search(name, dataset, **arguments):
        raise Searched(arguments)

    wide = Entry(BASELINES["plrec"].make, {"dim": (4, 8, 64), "regularization": (1.0,)}, {"dim": (8, TRAIN_USERS, 64)})
    monkeypatch.setitem(BASELINES, "plrec", wide)
    monkeypatch.setattr(linear_module, "choose", search)
    for many_items, expected in (
        # No more dimensions than users or items.
        (NUM_ITEMS + 1, {"grid": {"dim": [4, 8], "regularization": (1.0,)}, "search": "all"}),
        (NUM_ITEMS, {"grid": {"dim": [8], "regularization": (1.0,)}, "search": "climb"}),
    ):
        monkeypatch.setattr(linear_module, "MANY_ITEMS", many_items)
        with pytest.raises(Searched) as searched:
            SYSTEMS["plrec"].run(dataset, tmp_path, 0, console)
        assert searched.value.args == (expected,)


def test_a_fused_system_trains_members_of_other_settings_itself(dataset, tmp_path, console):
    member = neural("multvae_pia", "PIA", settings={**TINY, "training.epochs": 2, "pia.weight": 0.1})
    run_systems([member], dataset, tmp_path, seeds=1, console=console)
    fusion = fused("both", "Both", presets=("multvae_pia",), linear="ease", settings={**TINY, "training.epochs": 2})
    folder = tmp_path / "both" / "seed-0"
    fusion.run(dataset, folder, 0, console)
    alone, own = (
        run_folder.read_metrics(run_folder.load(path))
        for path in (tmp_path / "multvae_pia" / "seed-0" / "run", folder / "run" / "members" / "0")
    )
    assert [record["anchor"] for record in own] != [record["anchor"] for record in alone]


@pytest.mark.parametrize(("users", "epochs"), [(738, 30), (4_834, 30), (18_947, 8), (60_595, 5)])
def test_patience_is_counted_in_steps(dataset, users, epochs):
    assert sized_config(with_users(dataset, users), "multvae").training.early_stopping == epochs


def with_users(dataset, users):
    return dataclasses.replace(dataset, train=CSR(np.zeros(users + 1, np.int64), np.zeros(0, np.int32)))


@pytest.mark.parametrize(("items", "latent_dim", "exponent"), [(3_497, 600, 0.75), (16_940, 1200, 0.0)])
def test_warpvae_is_wider_for_many_items(dataset, items, latent_dim, exponent):
    item_ids = pl.DataFrame({"item_id": np.arange(items)})
    config = sized_config(dataclasses.replace(dataset, items=item_ids), "warpvae_pia")
    assert (config.model.latent_dim, config.training.activity_exponent) == (latent_dim, exponent)
    assert sized_config(dataclasses.replace(dataset, items=item_ids), "multvae").model.latent_dim == 200


def test_settings_for_movielens_1m_are_those_of_its_config(dataset):
    config = sized_config(with_users(dataset, 4_834), "multvae_pia")
    assert (config.training.batch_size, config.training.epochs, config.training.early_stopping) == (500, 130, 30)
    assert (config.pia.weight, config.pia.scale, config.pia.patience) == (0.5, 1.5, 10)
    assert config.kl.total_steps == pytest.approx(5_500, rel=0.01)


def test_settings_for_movielens_20m_are_the_papers(dataset):
    config = sized_config(with_users(dataset, 116_677), "multvae_pia")
    assert (config.training.batch_size, config.training.epochs, config.training.early_stopping) == (500, 200, 0)
    assert (config.pia.weight, config.pia.scale, config.pia.patience) == (2.0, 2.0, 5)
    assert config.kl.total_steps == pytest.approx(200_000, rel=0.01)


@pytest.mark.parametrize("users", [1, 7, TRAIN_USERS, 3_999, LARGE - 1])
@pytest.mark.parametrize("name", ["multvae", "recvae", "hvamp"])
def test_settings_for_any_size_make_steps_and_anneal(dataset, users, name):
    config = validate(sized_config(with_users(dataset, users), name))
    steps = -(-users // config.training.batch_size)
    assert steps >= min(users, 8)
    updates_to_cap = config.kl.cap * config.kl.total_steps
    assert updates_to_cap == pytest.approx(0.85 * config.training.epochs * steps, rel=0.01)


def test_published_settings_of_two_that_differ_hold_on_large_data(dataset):
    config = sized_config(with_users(dataset, 383_435), "hvamp")
    assert config.kl.cap * config.kl.total_steps == pytest.approx(100 * 1918, rel=0.01)  # steps of 100 epochs
    assert preset("hvamp").kl.total_steps == pytest.approx(config.kl.total_steps, rel=0.01)
    config = sized_config(with_users(dataset, 116_677), "lambdanet")
    assert (config.stages.pretraining, config.training.epochs) == (200, 210)
    config = sized_config(with_users(dataset, 4_834), "lambdanet")
    assert (config.stages.pretraining, config.training.epochs) == (0, 60)


def test_all_systems_of_the_registry_are_there_by_name():
    assert choose_systems("all") == list(SYSTEMS.values())
    assert {"popularity", "multvae", "multvae_pia"} <= SYSTEMS.keys()
    assert [system.name for system in choose_systems("multvae,popularity")] == ["multvae", "popularity"]
    labels = [system.label for system in SYSTEMS.values()]
    assert len(set(labels)) == len(labels)
    assert all(name in SYSTEMS for pair in UPLIFTS for name in pair)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("multvea", 'names "multvea", which is no model: choose from popularity, mf, wmf'),
        ("multvae,,popularity", 'names "", which is no model'),
        ("multvae,multvae", "must name each model once, got multvae,multvae"),
    ],
)
def test_unknown_and_repeated_names_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        choose_systems(text)


def test_only_one_of_the_pair_has_anchors(dataset, tmp_path, monkeypatch, console):
    seen = {}

    def watch(config, *_, **__):
        seen[config.name] = config.pia.enabled
        raise NonFiniteLoss("enough is seen")

    monkeypatch.setattr(neural_module, "fit", watch)
    for name in ("multvae", "multvae_pia"):
        with pytest.raises(NonFiniteLoss):
            SYSTEMS[name].run(dataset, tmp_path / name, 0, console)
    assert seen == {"multvae": False, "multvae_pia": True}
