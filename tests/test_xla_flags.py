"""The flag that keeps kernels in order on a GPU, and that XLA knows it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from piavae_jax import cli, xla_flags

ORDERED = "--xla_gpu_enable_pdl=false"


@pytest.fixture
def plugin_for_cuda(tmp_path, monkeypatch):
    """JAX's plugin for CUDA, as far as looking for it tells."""
    (tmp_path / "jax_plugins" / "xla_cuda13").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("jax_plugins", None)  # which the look imports


@pytest.mark.usefixtures("plugin_for_cuda")
@pytest.mark.parametrize(
    ("given", "set_"),
    [
        ({}, ORDERED),
        ({"XLA_FLAGS": "--xla_dump_to=x"}, f"--xla_dump_to=x {ORDERED}"),
        ({"XLA_FLAGS": "--xla_gpu_enable_pdl_launch=true"}, f"--xla_gpu_enable_pdl_launch=true {ORDERED}"),
        ({"XLA_FLAGS": "--xla_gpu_enable_pdl=true"}, "--xla_gpu_enable_pdl=true"),
    ],
)
def test_the_flag_joins_those_of_the_user(given, set_):
    xla_flags.launch_in_order(given)
    assert given == {"XLA_FLAGS": set_}


def test_without_a_plugin_for_gpus_nothing_is_set(monkeypatch):
    monkeypatch.setattr(sys, "path", [])  # where this machine may have one
    monkeypatch.delitem(sys.modules, "jax_plugins", raising=False)
    environment = {}
    xla_flags.launch_in_order(environment)
    assert environment == {}


@pytest.mark.usefixtures("plugin_for_cuda")
def test_a_command_sets_it_before_it_begins(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS")
    seen = []
    cli.run(lambda: seen.append(os.environ["XLA_FLAGS"]))
    assert seen == [ORDERED]


def test_xla_knows_the_flag():
    # XLA ends the process for a flag that it does not know.
    done = subprocess.run(
        [sys.executable, "-c", "import jax; print(jax.numpy.ones(2).sum())"],
        env={**os.environ, "XLA_FLAGS": ORDERED, "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "2.0"), done.stderr
