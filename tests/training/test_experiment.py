"""The commands behind bin/train.py and bin/evaluate.py, whole."""

import dataclasses
import io
import json
import shutil
import sys

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from tiny_runs import HELDOUT_USERS, tiny_config, tiny_dataset

from piavae_jax import UserError, masking
from piavae_jax.data.csr import from_pairs
from piavae_jax.data.prepared import write_prepared
from piavae_jax.training.evaluate_runs import evaluate_runs
from piavae_jax.training.experiment import run_experiment

PNG = b"\x89PNG\r\n\x1a\n"


def make_console():
    return Console(file=io.StringIO(), width=160)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with data and two finished runs, `tiny` and `plain`, and what they printed."""
    root = tmp_path_factory.mktemp("experiment")
    write_prepared(tiny_dataset(), root / "data")
    console = make_console()
    for name, enabled in {"tiny": True, "plain": False}.items():
        config = tiny_config(str(root / "data"))
        config.name, config.workdir, config.pia.enabled = name, str(root / name), enabled
        config.training.tensorboard = enabled
        run_experiment(config, console=console)
    return root, console.file.getvalue()


def test_training_ends_with_a_table_and_says_where_things_are(runs):
    root, printed = runs
    assert "test users of tiny, best epoch" in printed
    assert "popularity" in printed
    assert f"run folder  {root / 'tiny'}" in printed
    assert f"python bin/evaluate.py --workdir {root / 'tiny'}" in printed
    assert printed.count("nDCG@100") == 10  # no terminal: a line an epoch


def test_training_leaves_pictures_results_and_events(runs):
    root, _ = runs
    assert (root / "tiny" / "curves.png").read_bytes().startswith(PNG)
    summary = json.loads((root / "tiny" / "results" / "test.json").read_text())
    users = pl.read_parquet(root / "tiny" / "results" / "test_users.parquet")
    assert users.height == HELDOUT_USERS
    assert summary["ndcg@100"]["mean"] == pytest.approx(users["ndcg@100"].mean())
    assert list((root / "tiny" / "tensorboard" / "tiny").glob("events*"))


def test_evaluation_needs_the_run_folder_and_the_data_only(runs, tmp_path):
    root, _ = runs
    moved = (root / "data").rename(tmp_path / "elsewhere")
    console = make_console()
    with pytest.raises(UserError, match="is not there; name a prepared data set with --data"):
        evaluate_runs([root / "tiny"], console=console)
    evaluate_runs([root / "tiny"], against=[root / "plain"], data=moved, split="validation", console=console)
    moved.rename(root / "data")
    printed = console.file.getvalue()
    for words in (
        "validation users of tiny",
        "paired over users",
        "by number of interactions",
        "over 100",
        "popularity",
    ):
        assert words in printed
    assert (root / "plain" / "results" / "validation_users.parquet").is_file()


def test_the_same_run_twice_is_refused(runs):
    root, _ = runs
    with pytest.raises(UserError, match="run folders must differ"):
        evaluate_runs([root / "tiny"], against=[root / "tiny"], console=make_console())


def test_runs_of_one_system_are_averaged(runs):
    root, _ = runs
    console = make_console()
    evaluate_runs([root / "tiny", root / "plain"], console=console)
    assert "tiny (2 runs)" in console.file.getvalue()


def test_without_matplotlib_the_results_are_there_all_the_same(runs, tmp_path, monkeypatch):
    root, _ = runs
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    config = tiny_config(str(root / "data"))
    config.workdir, config.training.epochs = str(tmp_path / "run"), 1
    console = make_console()
    run_experiment(config, console=console)
    assert "no curves.png: pictures need matplotlib" in console.file.getvalue()
    assert (tmp_path / "run" / "results" / "test.json").is_file()


def test_data_without_test_targets_are_refused_before_training(tmp_path):
    dataset = tiny_dataset()
    nothing = from_pairs(np.array([], int), np.array([], int), num_rows=HELDOUT_USERS)
    write_prepared(
        dataclasses.replace(dataset, test=dataclasses.replace(dataset.test, target=nothing)), tmp_path / "data"
    )
    config = tiny_config(str(tmp_path / "data"))
    config.workdir = str(tmp_path / "run")
    with pytest.raises(UserError, match="has no held-out interactions to test on"):
        run_experiment(config, console=make_console())
    assert not (tmp_path / "run").exists()


def test_runs_of_other_metrics_are_compared_by_those_that_are_named(runs, tmp_path):
    root, _ = runs
    for name in ("tiny", "plain"):
        shutil.copytree(root / name, tmp_path / name)
    file = tmp_path / "plain" / "config.json"
    config = json.loads(file.read_text())
    config["evaluation"]["metrics"] = ["recall@5"]
    file.write_text(json.dumps(config))
    both = {"against": [tmp_path / "plain"], "console": make_console()}
    with pytest.raises(UserError, match="got ndcg@100,recall@20,recall@50 and ndcg@100,recall@5; name them with --m"):
        evaluate_runs([tmp_path / "tiny"], **both)
    with pytest.raises(UserError, match='metric "map@10" must be'):
        evaluate_runs([tmp_path / "tiny"], metrics=["map@10"], **both)
    evaluate_runs([tmp_path / "tiny"], metrics=["recall@3", "ndcg@10"], **both)
    assert "recall@3" in both["console"].file.getvalue().lower()
    users = pl.read_parquet(tmp_path / "plain" / "results" / "test_users.parquet")
    assert {"recall@3", "ndcg@10", "ndcg@100"} < set(users.columns)


def test_runs_of_one_architecture_share_what_is_compiled(runs, tmp_path, monkeypatch):
    root, _ = runs
    shutil.copytree(root / "tiny", tmp_path / "again")
    traced = []
    encoder_input = masking.encoder_input
    monkeypatch.setattr(masking, "encoder_input", lambda batch: traced.append(batch) or encoder_input(batch))
    console = make_console()
    evaluate_runs([root / "tiny", tmp_path / "again"], console=console)
    assert len(traced) <= 1  # none where another test has evaluated the run
    assert "tiny (2 runs)" in console.file.getvalue()


def test_each_member_of_a_fused_model_is_named_and_has_events_of_its_own(runs, tmp_path):
    root, _ = runs
    config = tiny_config(str(root / "data"))
    config.name, config.workdir, config.seed, config.fusion.members = "pair", str(tmp_path / "pair"), 0, 2
    config.training.epochs, config.training.tensorboard = 1, True
    console = make_console()
    run_experiment(config, console=console)
    for name in ("pair-0", "pair-1"):
        assert f"{name}  up to 1 epochs of" in console.file.getvalue()
        assert list((tmp_path / "pair" / "tensorboard" / name).glob("events*"))


def test_a_model_of_several_kinds_shows_what_each_share_reached(runs, tmp_path):
    root, _ = runs
    config = tiny_config(str(root / "data"))
    config.name, config.workdir, config.training.epochs = "kinds", str(tmp_path / "kinds"), 1
    config.fusion.others, config.fusion.linear, config.fusion.weights = ({"kl.cap": 0.0},), "ease", (0.0, 8.0)
    console = make_console()
    result = run_experiment(config, console=console)
    printed = console.file.getvalue()
    tried = [line.split() for line in printed.splitlines() if " / " in line and "users" not in line]
    assert tried == [
        [*" / ".join(f"{share:g}" for share in choice.shares).split(), f"{choice.weight:g}", f"{choice.metric:.4f}"[1:]]
        for choice in result.choices
    ]


def test_a_model_with_factors_shows_what_each_weight_of_them_reached(runs, tmp_path):
    root, _ = runs
    config = tiny_config(str(root / "data"))
    config.name, config.workdir, config.training.epochs = "factors", str(tmp_path / "factors"), 1
    config.fusion.linear, config.fusion.weights = "ease", (0.0, 8.0)
    config.fusion.factors, config.fusion.factor_dim, config.fusion.factor_weights = "wmf", 4, (2.0,)
    console = make_console()
    result = run_experiment(config, console=console)
    printed = console.file.getvalue()
    lines = [line.split() for line in printed.splitlines()]
    head = lines.index(["ease", "wmf", "reached"])
    tried = lines[head + 2 : head + 2 + len(result.choices)]
    assert tried == [
        [f"{choice.weight:g}", f"{choice.factor_weight:g}", f"{choice.metric:.4f}"[1:]] for choice in result.choices
    ]
    assert tried[2][:2] == [tried[int(result.choices[1].metric > result.choices[0].metric)][0], "2"]
