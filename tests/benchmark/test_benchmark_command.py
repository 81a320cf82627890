"""The command, whole, and as a user calls it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import TINY, fake_system

from piavae_jax.benchmark import command
from piavae_jax.benchmark.neural import neural
from piavae_jax.benchmark.plan import Plan
from piavae_jax.benchmark.registry import SYSTEMS
from piavae_jax.errors import UserError

SCRIPT = Path(__file__).parents[2] / "bin" / "benchmark.py"


def call(tmp_path, *arguments):
    """Run the command in an empty folder."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def run(dataset, tmp_path, console, monkeypatch):
    """Runs the command with systems of the test's own, and returns what it printed."""

    def run_command(*systems, seeds=1, data=dataset.path):
        monkeypatch.setattr("piavae_jax.benchmark.plan.choose_systems", lambda _: list(systems))
        command.run_benchmark(Plan(data, tmp_path / "out", "x"), seeds=seeds, console=console, command="x")
        return console.file.getvalue()

    return run_command


def test_real_systems_end_in_a_table_and_all_files(run, tmp_path, dataset):
    plain = neural("multvae", "Multi-VAE", settings={**TINY, "pia.enabled": False})
    with_pia = neural("multvae_pia", "Multi-VAE + PIA", settings=TINY)
    printed = run(SYSTEMS["popularity"], plain, with_pia)
    assert "test users of tiny" in printed
    assert "Multi-VAE + PIA minus Multi-VAE" in printed
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "benchmark.json", "results.md", "results.csv", "results.json", "comparisons.csv", "comparisons.png",
        "popularity", "multvae", "multvae_pia",
    }  # fmt: skip


def test_what_cannot_be_run_for_want_of_a_package_is_said_before_anything_runs(dataset, tmp_path, console, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    plan = Plan(dataset.path, tmp_path / "out", "popularity,plrec")
    with pytest.raises(UserError, match="PLRec needs scikit-learn; install it with"):
        command.run_benchmark(plan, seeds=1, console=console, command="x")
    assert not (tmp_path / "out").exists()


def test_an_interrupted_benchmark_goes_on(run, tmp_path, console):
    calls = []
    with pytest.raises(KeyboardInterrupt):
        run(fake_system("a", calls=calls), fake_system("b", error=KeyboardInterrupt(), calls=calls))
    assert "the same command goes on" in console.file.getvalue()
    assert not (tmp_path / "out" / "results.md").exists()
    printed = run(fake_system("a", calls=calls), fake_system("b", calls=calls))
    assert calls == [("a", 0), ("b", 0), ("b", 0)]
    assert "1 of 2 runs are done already" in printed
    assert (tmp_path / "out" / "results.md").is_file()


def test_the_report_covers_what_earlier_commands_ran(run, tmp_path, console):
    run(fake_system("a"))
    assert "B" in run(fake_system("b"))
    (tmp_path / "out" / "results.md").unlink()
    command.report_benchmark(tmp_path / "out", console=console)
    page = (tmp_path / "out" / "results.md").read_text()
    assert "| A |" in page
    assert "| B |" in page


def test_one_command_at_a_time(run, tmp_path):
    def run_inside(*_):
        with pytest.raises(UserError, match="is being trained by another process"):
            run(fake_system("b"))
        raise MemoryError

    run(fake_system("a")._replace(run=run_inside))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "all"], "the following arguments are required: --out"),
        (["--out", "o"], "--data is missing: pass a prepared data set, or --report-only"),
        (["--out", "o", "--data", "d", "--models", ""], '--models names "", which is no model: choose from'),
        (["--out", "o", "--data", "d", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--out", "o", "--data", "d", "--processes", "0"], "--processes must be at least 1, got 0"),
        (
            ["--out", "o", "--data", "d", "--models", "a", "--ablation", "f"],
            "--models and --ablation exclude one another",
        ),
        (
            ["--out", "o", "--report-only", "--models", "a"],
            "--report-only reports on all that is in --out: leave --models",
        ),
    ],
)
def test_mistakes_cost_one_line_and_leave_nothing(tmp_path, arguments, message):
    result = call(tmp_path, *arguments)
    assert result.returncode == 2, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.strip()]
    assert line.startswith("error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_another_data_set_ends_with_status_2(run, dataset, tmp_path):
    from tiny_runs import tiny_dataset

    from piavae_jax.data.prepared import write_prepared

    run(fake_system("a"))
    other = write_prepared(tiny_dataset(seed=1, name="other"), tmp_path / "other")
    result = call(tmp_path, "--data", other.path, "--models", "popularity", "--out", tmp_path / "out")
    assert result.returncode == 2
    assert "was begun on other data (tiny" in result.stderr


def test_the_command_runs_popularity(dataset, tmp_path):
    result = call(tmp_path, "--data", dataset.path, "--models", "popularity", "--out", "out")
    assert result.returncode == 0, result.stderr
    assert "1/1  Popularity" in result.stdout
    assert "written to  out" in result.stdout
    assert "--models popularity --out out`" in (tmp_path / "out" / "results.md").read_text()


def test_help_shows_a_command_to_copy_and_loads_nothing_that_is_slow():
    command_line = [sys.executable, "-X", "importtime", SCRIPT, "--help"]
    result = subprocess.run(command_line, capture_output=True, text=True, check=True)
    assert "python bin/benchmark.py --data data/ml1m" in result.stdout
    assert all(
        flag in result.stdout for flag in ("--data", "--models", "--ablation", "--seeds", "--out", "--report-only")
    )
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert imported.isdisjoint({"jax", "flax", "optax", "orbax", "polars", "numpy", "scipy", "matplotlib"})


def test_nothing_is_written_before_all_is_checked(dataset, tmp_path, console):
    arguments = {"seeds": 1, "console": console, "command": "x"}
    with pytest.raises(UserError, match='names "no", which is no model'):
        command.run_benchmark(Plan(dataset.path, tmp_path / "out", "no"), **arguments)
    with pytest.raises(UserError, match="gone is not a folder"):
        command.run_benchmark(Plan(tmp_path / "gone", tmp_path / "out", "all"), **arguments)
    with pytest.raises(UserError, match="out holds no benchmark"):
        command.report_benchmark(tmp_path / "out", console=console)
    assert list(tmp_path.iterdir()) == []
