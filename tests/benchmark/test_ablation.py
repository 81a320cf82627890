"""A model and its variants, declared in a file."""

import runpy
from pathlib import Path

import pytest
from fakes import TINY as THREE_EPOCHS
from tiny_runs import tiny_dataset

from piavae_jax.benchmark import command
from piavae_jax.benchmark.ablation import Ablation, ablation_systems, check_unchanged, read_ablation
from piavae_jax.benchmark.neural import neural
from piavae_jax.benchmark.plan import Plan
from piavae_jax.benchmark.registry import SYSTEMS
from piavae_jax.benchmark.sized_config import sized_config
from piavae_jax.config import apply_settings
from piavae_jax.data.json_files import read_json
from piavae_jax.data.prepared import write_prepared
from piavae_jax.errors import UserError
from piavae_jax.training import run_folder

TINY = {**THREE_EPOCHS, "training.epochs": 1}
CONFIGS = Path(__file__).parents[2] / "configs"


def ablation_config(dataset, settings):
    return apply_settings(sized_config(dataset, "multvae"), settings)


def declare(folder, body):
    file = folder / "ablation.py"
    file.write_text(f"from piavae_jax.benchmark.ablation import Ablation\n\n\ndef get_ablation():\n    {body}\n")
    return file


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("ablation_*.py")), ids=lambda file: file.stem)
def test_the_ablations_of_configs_can_be_run(file, dataset):
    ablation = read_ablation(file)
    systems = ablation_systems(ablation, dataset)
    assert ablation.name or systems[0] is SYSTEMS[ablation.preset]
    assert len({system.name for system in systems}) == len(ablation.variants) + 1
    assert {system.baseline for system in systems[1:]} == {systems[0].name}
    assert f"configs/{file.name}" in runpy.run_path(str(file))["__doc__"]


def test_a_variant_is_its_model_but_for_what_is_said(dataset, tmp_path, console):
    ablation = Ablation("multvae", {"Beta .05!": {**TINY, "kl.cap": 0.05}})
    base, variant = ablation_systems(ablation, dataset)
    assert (variant.name, variant.label) == ("multvae-beta-05", "Multi-VAE, Beta .05!")
    assert (variant.family, variant.baseline) == (base.family, "multvae")
    outcomes = [
        system.run(dataset, tmp_path / system.name, 0, console)
        for system in (variant, neural("x", "X", preset="multvae", settings=TINY))
    ]
    varied, plain = (outcome.settings["config"] for outcome in outcomes)
    assert (varied["kl"].pop("cap"), plain["kl"].pop("cap")) == (0.05, 0.2)
    assert varied == plain


def test_a_model_with_a_name_shares_its_settings_with_its_variants(dataset, tmp_path, console):
    small = {**TINY, "model.latent_dim": 3}
    ablation = Ablation("multvae", {"beta .05": {"kl.cap": 0.05}}, name="3 dimensions", settings=small)
    model, variant = ablation_systems(ablation, dataset)
    assert (model.name, model.label) == ("multvae-3-dimensions", "Multi-VAE, 3 dimensions")
    assert (variant.name, variant.label) == ("multvae-3-dimensions-beta-05", "Multi-VAE, 3 dimensions, beta .05")
    assert (model.baseline, variant.baseline) == ("", model.name)
    outcomes = [system.run(dataset, tmp_path / system.name, 0, console) for system in (model, variant)]
    configs = [outcome.settings["config"] for outcome in outcomes]
    assert [config["model"]["latent_dim"] for config in configs] == [3, 3]
    assert [config["kl"]["cap"] for config in configs] == [0.2, 0.05]


def test_the_command_compares_each_variant_with_the_model(dataset, tmp_path, console, monkeypatch):
    tiny = neural("multvae_pia", "Multi-VAE + PIA", settings=TINY)
    monkeypatch.setattr("piavae_jax.benchmark.ablation.SYSTEMS", {"multvae_pia": tiny})
    variant = {**TINY, "mask.kind": "per_user"}
    file = declare(tmp_path, f'return Ablation("multvae_pia", {{"a mask per user": {variant!r}}})')
    out = tmp_path / "out"
    command.run_benchmark(Plan(dataset.path, out, "all", file), seeds=2, console=console, command="x")
    assert "Multi-VAE + PIA, a mask per user minus Multi-VAE + PIA" in console.file.getvalue()
    (uplift, *_) = read_json(out / "results.json")["uplifts"]
    # A hundred variants' checkpoints would fill a disk.
    assert [folder.parents[1].name for folder in out.glob("*/seed-*/run")] == ["multvae_pia"] * 2
    changed = declare(tmp_path, f'return Ablation("multvae_pia", {{"a mask per user": {TINY!r}}})')
    with pytest.raises(UserError, match=r"was run with mask\.kind='per_user', now it has 'bernoulli': give it another"):
        command.run_benchmark(Plan(dataset.path, out, "all", changed), seeds=2, console=console, command="x")
    other = write_prepared(tiny_dataset(seed=1), tmp_path / "other")
    with pytest.raises(UserError, match="was begun on other data"):  # that comes first
        command.run_benchmark(Plan(other.path, out, "all", changed), seeds=2, console=console, command="x")
    assert uplift["baseline"] == "Multi-VAE + PIA"
    written = (out / "results.md").read_text()
    command.report_benchmark(out, console=console)  # without the file that declared the variants
    assert (out / "results.md").read_text() == written


def test_a_variant_that_was_stopped_keeps_its_settings_or_its_folder(dataset, tmp_path):
    begun = ablation_config(dataset, {**TINY, "kl.cap": 0.05})
    run_folder.create(tmp_path / "multvae-beta" / "seed-0" / "run", begun, dataset)
    check_unchanged(Ablation("multvae", {"beta": {**TINY, "kl.cap": 0.05}}), dataset, tmp_path)
    with pytest.raises(
        UserError, match=r'"beta" was run with kl.cap=0.05, now it has 0.07: give it another name, or r'
    ):
        check_unchanged(Ablation("multvae", {"beta": {**TINY, "kl.cap": 0.07}}), dataset, tmp_path)
    (tmp_path / "multvae-beta").rename(tmp_path / "multvae-beta-old")
    check_unchanged(Ablation("multvae", {"beta": {**TINY, "kl.cap": 0.07}}), dataset, tmp_path)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 1", r"must have get_ablation\(\) that returns an Ablation, got 1"),
        ("return Ablation", r"must have get_ablation\(\) that returns an Ablation, got <class"),
        ("raise KeyError('x')", "failed: KeyError: 'x'; correct it"),
        ('return Ablation("multvae", {"b": ("kl.cap", 0.05)})', "must map names of variants to values by config path"),
        ('return Ablation("multvae", {1: {"kl.cap": 0.05}})', "must map names of variants to values by config path"),
        ('return Ablation("multvae", {}, name="small")', "must have both a name .* got 'small' and"),
        ('return Ablation("multvae", {}, settings={"kl.cap": 0.05})', "must have both a name .* got '' and"),
        ('return Ablation("multvae", {}, name="b", settings=0.05)', "must have both a name .* got 'b' and 0.05"),
    ],
)
def test_what_a_file_may_not_declare(tmp_path, body, message):
    with pytest.raises(UserError, match=message):
        read_ablation(declare(tmp_path, body))


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(UserError, match=r"--ablation must name a Python file, got .*gone\.py"):
        read_ablation(tmp_path / "gone.py")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UserError, match=r"must have get_ablation\(\) that returns an Ablation, got None"):
        read_ablation(tmp_path / "empty.py")


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        (Ablation("ease", {}), "the preset of an ablation must be one of multidae, .*, got 'ease'"),
        (Ablation("multvae", {"b": {"kl.gap": 1}}), 'the variant "b" cannot be: .*gap'),
        (Ablation("multvae", {"b": {"kl.cap": -1.0}}), 'the variant "b" cannot be: .*cap'),
        (Ablation("multvae", {"b": {"seed": 1}}), 'the variant "b" cannot be: it must leave seed to the benchmark'),
        (Ablation("multvae", {"b": {"fusion.members": 2}}), "it must leave fusion.members to the benchmark"),
        (Ablation("multvae", {}, name="b", settings={"kl.gap": 1}), 'the variant "b" cannot be: .*gap'),
        (Ablation("multvae", {"b 1": {}, "B-1": {}}), 'must differ in their letters a-z and digits, got "B-1" after'),
        (Ablation("multvae", {"β": {}}), 'must differ in their letters a-z and digits, got "β", which has none'),
    ],
)
def test_what_an_ablation_may_not_be(dataset, ablation, message):
    with pytest.raises(UserError, match=message):
        ablation_systems(ablation, dataset)
