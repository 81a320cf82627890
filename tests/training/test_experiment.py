"""The commands behind bin/train.py, bin/evaluate.py and bin/tune.py, whole."""

import io
import json

import polars as pl
import pytest
from rich.console import Console
from tiny_runs import HELDOUT_USERS, tiny_config, tiny_dataset

from piavae_jax import UserError
from piavae_jax.data.prepared import write_prepared
from piavae_jax.training.evaluate_runs import evaluate_runs
from piavae_jax.training.experiment import run_experiment
from piavae_jax.training.grid import run_grid

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
    assert list((root / "tiny" / "tensorboard").glob("events*"))


def test_evaluation_needs_the_run_folder_and_the_data_only(runs, tmp_path):
    root, _ = runs
    moved = (root / "data").rename(tmp_path / "elsewhere")
    console = make_console()
    with pytest.raises(UserError, match="is not a folder"):
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
    with pytest.raises(UserError, match="is named twice"):
        evaluate_runs([root / "tiny", root / "tiny", root / "tiny"], console=make_console())


def test_a_grid_is_trained_ranked_and_resumed(runs, tmp_path):
    root, _ = runs
    config = tiny_config(str(root / "data"))
    axes = ["pia.weight=1,2", "pia.scale=1.5"]
    first = run_grid(config, axes, tmp_path, shard=(0, 2), console=make_console())
    assert first["pia.weight"].to_list() == [1.0]
    table = run_grid(config, axes, tmp_path, shard=(1, 2), console=make_console())
    assert sorted(table["pia.weight"]) == [1.0, 2.0]
    assert table["validation/ndcg@100"].is_sorted(descending=True)
    assert pl.read_csv(tmp_path / "grid.csv").equals(table)
    before = (tmp_path / "pia.scale=1.5,pia.weight=2" / "metrics.jsonl").read_text()
    assert run_grid(config, axes, tmp_path, shard=(0, 1), console=make_console()).equals(table)
    assert (tmp_path / "pia.scale=1.5,pia.weight=2" / "metrics.jsonl").read_text() == before
