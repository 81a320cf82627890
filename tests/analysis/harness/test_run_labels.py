from pathlib import Path

import polars as pl
import pytest

from piavae_jax.analysis.harness.labels import describe_setting, label_runs, model_label
from piavae_jax.analysis.harness.run_pairs import Pair, pairs_of, twin_without_pia
from piavae_jax.analysis.harness.seeds import group_seeds
from piavae_jax.config import ExperimentConfig, ModelConfig, apply_settings
from piavae_jax.training.run_folder import RunFolder


def make_run(name="run", **settings):
    config = apply_settings(ExperimentConfig(name=name), {"data.path": "d", **settings})
    return RunFolder(Path("runs") / name, config, pl.DataFrame(), "d", "digest", 9)


CLEAN = make_run("clean", **{"mask.keep_prob": 1.0, "pia.enabled": False})
MASKED = make_run("masked", **{"pia.enabled": False})
ALIGNED = make_run("aligned")


@pytest.mark.parametrize(
    ("run", "setting"),
    [
        (CLEAN, "clean input"),
        (MASKED, "masking"),
        (ALIGNED, "masking + PIA"),
        (make_run(**{"mask.kind": "per_user"}), "per-user masking + PIA"),
    ],
)
def test_settings_are_those_of_the_config(run, setting):
    assert describe_setting(run.config) == setting


def test_labels_keep_the_order_and_tell_runs_apart():
    assert list(label_runs([CLEAN, MASKED, ALIGNED])) == ["clean input", "masking", "masking + PIA"]
    other = make_run("other", **{"pia.weight": 1.0})
    assert list(label_runs([ALIGNED, other])) == ["masking + PIA (aligned)", "masking + PIA (other)"]
    copy = ALIGNED._replace(path=Path("elsewhere"))
    assert list(label_runs([ALIGNED, copy])) == [
        "masking + PIA (aligned) (runs/aligned)",
        "masking + PIA (aligned) (elsewhere)",
    ]


def test_labels_name_models_that_differ():
    recvae = make_run("r", **{"model.name": "recvae", "model.hidden": (600, 600)})
    assert list(label_runs([ALIGNED, recvae])) == ["Multi-VAE, masking + PIA", "RecVAE, masking + PIA"]


@pytest.mark.parametrize(
    ("model", "reconstruction", "label"),
    [
        ("multvae", "multinomial", "Multi-VAE"),
        ("multvae", "warp", "WARP-VAE"),
        ("multvae", "lambdarank", "Multi-VAE, LambdaRank"),
        ("recvae", "warp", "RecVAE, WARP"),
        ("warp", "multinomial", "WARP"),
    ],
)
def test_a_model_is_named_with_its_loss(model, reconstruction, label):
    assert model_label(ModelConfig(name=model, reconstruction=reconstruction)) == label


def test_labels_name_losses_that_differ():
    ranking = make_run("w", **{"model.reconstruction": "warp"})
    assert list(label_runs([ALIGNED, ranking])) == ["Multi-VAE, masking + PIA", "WARP-VAE, masking + PIA"]


def test_a_twin_differs_in_pia_alone():
    runs = {"a": CLEAN, "b": MASKED, "c": ALIGNED}
    assert twin_without_pia("c", runs) == "b"
    assert twin_without_pia("b", runs) is None
    wider = {"b": make_run("wide", **{"pia.enabled": False, "model.hidden": (9,)}), "c": ALIGNED}
    assert twin_without_pia("c", wider) is None


def test_every_run_is_compared_with_the_first_and_pia_with_its_twin():
    runs = {"clean": CLEAN, "masked": MASKED, "pia": ALIGNED}
    assert pairs_of(runs) == [
        Pair("masked", "clean", False),
        Pair("pia", "clean", False),
        Pair("pia", "masked", True),
    ]
    assert pairs_of({"masked": MASKED, "pia": ALIGNED}) == [Pair("pia", "masked", True)]
    assert pairs_of({"pia": ALIGNED}) == []


def test_a_twin_of_the_same_seed_comes_first():
    seeds = {str(seed): make_run(str(seed), seed=seed, **{"pia.enabled": False}) for seed in (0, 1)}
    runs = {**seeds, "pia": make_run(seed=1)}
    assert twin_without_pia("pia", runs) == "1"
    assert twin_without_pia("pia", {"0": seeds["0"], "pia": runs["pia"]}) == "0"


def test_seeds_of_one_config_are_one_system():
    runs = [make_run(f"pia-{seed}", seed=seed) for seed in range(3)]
    labelled = label_runs([runs[0], MASKED, *runs[1:]])
    systems = group_seeds(labelled)
    assert list(systems) == ["masking + PIA (3 seeds)", "masking"]
    assert [run.config.seed for run in systems["masking + PIA (3 seeds)"].values()] == [0, 1, 2]
    assert all(labelled[label] is run for runs in systems.values() for label, run in runs.items())


def test_other_settings_make_another_system():
    systems = group_seeds(label_runs([ALIGNED, make_run("heavy", seed=1, **{"pia.weight": 1.0})]))
    assert list(systems) == ["masking + PIA (aligned)", "masking + PIA (heavy)"]
