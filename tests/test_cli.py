import os
import subprocess
import sys
from pathlib import Path

import pytest

from piavae_jax import cli

ROOT = Path(__file__).parents[1]
CONFIG = """
from piavae_jax.config import ExperimentConfig

def get_config():
    config = ExperimentConfig(name="try")
    config.data.path = "nowhere"
    return config
"""


def call(tmp_path, script, *arguments, **environment):
    """Run a command of bin/ as a user does, in an empty folder; a variable that is None is not there."""
    changed = {**os.environ, **environment}
    environment = {name: value for name, value in changed.items() if value is not None}
    return subprocess.run(
        [sys.executable, ROOT / "bin" / script, *map(str, arguments)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_one_line(result, tmp_path, message):
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert {path.name for path in tmp_path.iterdir()} <= {"try.py", "broken.py", "other.py", "__pycache__"}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "try.py"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config is missing"),
        (["--config=none.py"], "--config must name a file, got 'none.py'"),
        (["--config=try.py", "--config.pia.wait=3"], "Field wait not found"),
        (["--config=try.py", "--config.pia.weight=heavy"], "could not convert string to float: 'heavy'"),
        (["--config=try.py", "--config.mask.keep_prob=2.0"], "config.mask.keep_prob must be in (0, 1], got 2.0"),
        (["--config=try.py", "--config.evaluation.metrics=('map@10',)"], 'metric "map@10" must be'),
        (["--config=try.py", "--confg.seed=3"], "Unknown command line flag 'confg.seed'"),
        (["--config=try.py", "extra"], "unexpected argument 'extra'"),
        (["--config=try.py"], "nowhere is not a folder"),
        (
            [f"--config={ROOT}/configs/published.py:easy"],
            "--config: preset must be one of multvae, multvae_pia, warpvae",
        ),
        ([f"--config={ROOT}/configs/ml1m.py:warp"], "takes 0 positional arguments but 1 was given"),
        ([f"--config={ROOT}/configs/ablation_multvae.py"], "--config cannot be loaded: AttributeError: module"),
        ([f"--config={ROOT}/configs/published.py:warp"], "config.data.path must name a prepared data set"),
    ],
)
def test_train_refuses_in_one_line(tmp_path, config, arguments, message):
    assert_one_line(call(tmp_path, "train.py", *arguments), tmp_path, message)


def test_a_cache_that_cannot_be_written_costs_a_line_and_no_more(tmp_path, config):
    cache = {"JAX_COMPILATION_CACHE_DIR": None, "PIAVAE_CACHE_DIR": str(config / "cache")}
    result = call(tmp_path, "train.py", "--config=try.py", **cache)
    warning, error = result.stderr.splitlines()
    assert warning.startswith("warning: programs are not kept once compiled (")
    assert "nowhere is not a folder" in error


def test_train_refuses_a_config_file_that_is_broken(tmp_path):
    (tmp_path / "broken.py").write_text("def get_config(:\n")
    assert_one_line(call(tmp_path, "train.py", "--config=broken.py"), tmp_path, "--config cannot be loaded")
    (tmp_path / "other.py").write_text("def get_config():\n    return 3\n")
    assert_one_line(call(tmp_path, "train.py", "--config=other.py"), tmp_path, "must return a piavae_jax Experiment")


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("evaluate.py", ["--workdir", "gone"], "gone is not a run folder"),
        ("evaluate.py", [], "the following arguments are required: --workdir: see evaluate.py --help"),
        ("evaluate.py", ["--workdir", "gone", "--groups", "a,b"], "--groups must be whole numbers"),
        ("tune.py", ["--config=try.py", "--grid=pia.weight"], "--grid must be FIELD=VALUE,VALUE"),
        ("tune.py", ["--config=try.py", "--grid=pia.wait=1,2"], "pia.wait is no field of the config"),
        ("tune.py", ["--config=try.py", "--grid=pia.scale=0.5,2"], "config.pia.scale must be a finite number >= 1"),
        ("tune.py", ["--config=try.py", "--space=big"], "--space must be one of default, pia, sensitivity, got 'big'"),
        ("tune.py", ["--config=try.py", "--space=pia", "--grid=seed=1"], "--grid and --space=pia are two spaces"),
        ("tune.py", ["--config=try.py", "--sampler=grid"], "a grid needs Choice for every field, got Float"),
        ("tune.py", ["--config=try.py", "--sampler=cma"], "value should be one of <tpe|random|grid>"),
        ("tune.py", ["--config=try.py"], "nowhere is not a folder"),
    ],
)
def test_other_commands_refuse_in_one_line(tmp_path, config, script, arguments, message):
    assert_one_line(call(tmp_path, script, *arguments), tmp_path, message)


@pytest.mark.parametrize("script", ["train.py", "tune.py", "evaluate.py", "prepare.py"])
def test_help_shows_a_command_to_copy(tmp_path, script):
    result = call(tmp_path, script, "--help")
    assert result.returncode == 0
    assert f"python bin/{script}" in result.stdout


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("train.py", ["--config:", "--[no]quiet:", "--config.FIELD=VALUE", "piavae_jax/config/schema.py"]),
        ("tune.py", ["--config:", "--space:", "--grid:", "--root:", "--trials:", "--config.FIELD=VALUE"]),
        ("evaluate.py", ["--workdir", "--against", "--data", "--split", "--groups"]),
        ("prepare.py", ["movielens", "netflix", "msd", "npz", "table", "liang-csv", "generate"]),
    ],
)
def test_help_lists_the_flags(tmp_path, script, flags):
    printed = call(tmp_path, script, "--help").stdout
    assert [flag for flag in flags if flag not in printed] == []


@pytest.mark.parametrize("script", ["train.py", "tune.py", "evaluate.py", "prepare.py"])
def test_help_loads_nothing_that_is_slow(script):
    command = [sys.executable, "-X", "importtime", ROOT / "bin" / script, "--help"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    imported = {line.rpartition("|")[2].strip() for line in listed.splitlines()}
    assert "piavae_jax.cli" in imported
    assert imported.isdisjoint({"jax", "flax", "optax", "orbax", "polars", "numpy", "scipy"})


def test_the_research_api_loads_without_reading_or_writing_anything():
    code = (
        "import sys, piavae_jax; assert 'jax' not in sys.modules; piavae_jax.losses.elbo; print('orbax' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ValueError('RESOURCE_EXHAUSTED: Error writing local file "a/best": Failed: No space left on device [28]'),
            "error: a checkpoint cannot be written: No space left on device; make room, and the same command goes on",
        ),
        (OSError(28, "No space left on device"), "No space left on device; check the disk and the permissions"),
    ],
    ids=["Orbax", "Python"],
)
def test_a_full_disk_costs_one_line(error, message, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as stopped:
        cli.run(main)
    assert stopped.value.code == cli.EXIT_USER_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_an_error_of_ours_keeps_its_traceback():
    def main():
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        cli.run(main)
