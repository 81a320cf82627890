import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from piavae_jax import compile_cache
from piavae_jax.compile_cache import cache_folder
from piavae_jax.errors import UserError

HOME = Path.home()
PROGRAM = """
import json, sys
import jax
from piavae_jax import compile_cache

events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.rpartition("/")[2]))
compile_cache.enable()
values = jax.jit(lambda x: (x @ x).sum())(jax.numpy.ones((3, 3)))
print(json.dumps({"hits": events.count("cache_hits"), "misses": events.count("cache_misses"), "value": float(values)}))
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, HOME / ".cache" / "piavae_jax" / "jax"),
        ({"XDG_CACHE_HOME": "/var/cache/me"}, Path("/var/cache/me/piavae_jax/jax")),
        ({"XDG_CACHE_HOME": ""}, HOME / ".cache" / "piavae_jax" / "jax"),
        ({"XDG_CACHE_HOME": "not/absolute"}, HOME / ".cache" / "piavae_jax" / "jax"),
        ({"PIAVAE_CACHE_DIR": "/fast/cache", "XDG_CACHE_HOME": "/var/cache/me"}, Path("/fast/cache")),
        ({"PIAVAE_CACHE_DIR": "~/cache"}, HOME / "cache"),
        ({"PIAVAE_CACHE_DIR": "", "XDG_CACHE_HOME": "/var/cache/me"}, None),
        ({"PIAVAE_CACHE_DIR": "/fast/cache", "JAX_COMPILATION_CACHE_DIR": "/mine"}, None),
        ({"PIAVAE_CACHE_DIR": "/fast/cache", "JAX_COMPILATION_CACHE_DIR": ""}, None),
    ],
)
def test_the_folder_follows_the_environment(environment, expected):
    assert cache_folder(environment) == expected


def run(code, **changes):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "PIAVAE_"))}
    environment |= {"JAX_PLATFORMS": "cpu", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", **changes}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_a_second_process_compiles_nothing(tmp_path):
    cold = run(PROGRAM, PIAVAE_CACHE_DIR=str(tmp_path / "cache"))
    assert cold["hits"] == 0
    assert cold["misses"] >= 1
    entries = sorted(tmp_path.glob("cache/*-cache"))
    assert len(entries) == cold["misses"]
    warm = run(PROGRAM, PIAVAE_CACHE_DIR=str(tmp_path / "cache"))
    assert warm == {"hits": cold["misses"], "misses": 0, "value": cold["value"]}
    assert sorted(tmp_path.glob("cache/*-cache")) == entries
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_what_a_killed_process_left_half_written_is_compiled_again(tmp_path):
    cold = run(PROGRAM, PIAVAE_CACHE_DIR=str(tmp_path))
    torn = next(iter(tmp_path.glob("jit__lambda*-cache")))
    torn.write_bytes(torn.read_bytes()[:100])
    torn.with_name(torn.name.replace("-cache", "-atime")).unlink()
    mended = run(PROGRAM, PIAVAE_CACHE_DIR=str(tmp_path))
    assert (mended["hits"], mended["misses"]) == (cold["misses"] - 1, 1)
    assert run(PROGRAM, PIAVAE_CACHE_DIR=str(tmp_path))["misses"] == 0


def test_a_cache_without_a_bound_is_not_taken_for_torn(tmp_path):
    unbound = {"PIAVAE_CACHE_DIR": str(tmp_path), "JAX_COMPILATION_CACHE_MAX_SIZE": "-1"}
    assert run(PROGRAM, **unbound)["misses"] > 0
    assert run(PROGRAM, **unbound)["misses"] == 0


def test_the_choices_of_the_user_stand(tmp_path):
    code = (
        "import json, jax; from piavae_jax import compile_cache; compile_cache.enable()\n"
        "print(json.dumps([jax.config.jax_compilation_cache_dir, jax.config.jax_compilation_cache_max_size]))"
    )
    assert run(code, PIAVAE_CACHE_DIR="") == [None, -1]
    assert run(code, PIAVAE_CACHE_DIR="/ours", JAX_COMPILATION_CACHE_DIR="/mine") == ["/mine", -1]
    folder = str(tmp_path)
    assert run(code, PIAVAE_CACHE_DIR=folder) == [folder, 64 * 2**20]
    assert run(code, PIAVAE_CACHE_DIR=folder, JAX_COMPILATION_CACHE_MAX_SIZE="1000000") == [folder, 1_000_000]


def test_importing_the_library_switches_nothing_on():
    code = (
        "import json, jax, piavae_jax, piavae_jax.training.fit; print(json.dumps(jax.config.jax_compilation_cache_dir))"
    )
    assert run(code) is None


def test_a_folder_that_does_not_serve_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("PIAVAE_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"programs are not kept once compiled \(.*Not a directory: .*file/cache"):
        compile_cache.enable()
