"""bin/export.py: what it writes scores as the run does, without this package."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from tiny_runs import NUM_ITEMS, tiny_config, tiny_dataset

from piavae_jax import UserError
from piavae_jax.data.prepared import write_prepared
from piavae_jax.serving.export import command, export_run
from piavae_jax.serving.export.check import draw_histories, to_rows
from piavae_jax.training import run_folder
from piavae_jax.training.checkpoint import Checkpoints
from piavae_jax.training.ensemble import FUSION, member_configs, save_fused
from piavae_jax.training.fusion import FusedParams, fit_factors, fit_linear, member_recipes
from piavae_jax.training.restore import restore
from piavae_jax.training.run_folder import catalogue_of
from piavae_jax.training.state import init_state

ROOT = Path(__file__).parents[2]


def console():
    return Console(file=io.StringIO(), width=160)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_prepared(tiny_dataset(), tmp_path_factory.mktemp("data") / "tiny")


def untrained(config, dataset, path):
    """A run folder with random parameters, biases included, in place of trained ones."""
    run_folder.create(path, config, dataset)
    generator = np.random.default_rng(0)

    def draw(recipe, config):
        with jax.numpy_dtype_promotion("standard"):
            state = init_state(recipe, config)
        return state, jax.tree.map(
            lambda leaf: leaf + 0.3 * generator.normal(size=leaf.shape).astype(np.float32), state.params
        )

    recipes = member_recipes(config, catalogue_of(dataset))
    if config.fusion.fuses:
        members = tuple(
            optax.tree.scale(1.0 + n, draw(recipe, member)[1])
            for n, (recipe, member) in enumerate(zip(recipes, member_configs(config, path), strict=True))
        )
        linear = fit_linear(config.fusion, dataset.train, dataset.num_items)
        shares = jnp.asarray([0.25, 0.75]) if config.fusion.others else None
        factors = fit_factors(config.fusion, dataset.train, dataset.num_items)
        weight, factor_weight = jnp.float32(4.0 if linear else 0.0), jnp.float32(2.0) if factors else None
        save_fused(path, FusedParams(members, linear, weight, shares, factors, factor_weight))
    else:
        state, params = draw(recipes[0], config)
        with Checkpoints(path) as checkpoints:
            checkpoints.save(state._replace(params=params, epoch=jnp.int32(1)), params)
    return path


def run_config(name, **fusion):
    config = tiny_config()
    config.model.name, config.model.hidden = name, {"hvamp": (16, 16), "recvae": (16, 16)}.get(name, (16,))
    config.prior.pseudo_inputs = 5
    config.pia.enabled = name not in ("cdae", "warp")
    for field, value in fusion.items():
        setattr(config.fusion, field, value)
    return config


RUNS = {
    "multvae": run_config("multvae"),
    "hvamp": run_config("hvamp"),
    "cdae": run_config("cdae"),
    "fused": run_config("multvae", members=2, linear="edlae", regularization=5.0),
    "fused kinds": run_config(
        "multvae",
        others=({"model.name": "recvae", "model.hidden": (16, 16), "pia.enabled": False},),
        linear="edlae",
        regularization=5.0,
        factors="wmf",
        factor_dim=6,
        factor_unobserved_weight=0.1,
    ),
    "fused with factors": run_config("multvae", factors="wmf", factor_dim=6, factor_unobserved_weight=0.1),
    "fused and pruned": run_config("recvae", linear="ease", regularization=5.0, keep=7),
}


@pytest.fixture(scope="module")
def runs(dataset, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return {name: untrained(config, dataset, root / name.replace(" ", "_")) for name, config in RUNS.items()}


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    """A folder with an export of `multvae`."""
    folder = tmp_path_factory.mktemp("exports") / "multvae"
    export_run(runs["multvae"], folder, console=console())
    return folder


def call(folder, rows):
    program = jax.export.deserialize(bytearray((folder / "model.jax").read_bytes()))
    with np.load(folder / "model.npz") as archive:
        return np.asarray(program.call(dict(archive), rows))


def histories(dataset):
    return to_rows(draw_histories(np.bincount(dataset.train.indices, minlength=NUM_ITEMS)), NUM_ITEMS)


def multvae_in_numpy(params, rows):
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    (first, second), (third, fourth) = (
        [params[part][name] for name in sorted(params[part])] for part in ("encoder", "decoder")
    )
    x = rows / np.sqrt(np.maximum(rows.sum(axis=1, keepdims=True), 1))
    mean = (np.tanh(x @ first["kernel"] + first["bias"]) @ second["kernel"] + second["bias"])[:, :6]
    return np.tanh(mean @ third["kernel"] + third["bias"]) @ fourth["kernel"] + fourth["bias"]


def test_scores_are_those_of_the_formula(exported, runs, dataset):
    rows = histories(dataset)
    expected = multvae_in_numpy(restore(runs["multvae"]).params, rows)
    for count in (1, 5, len(rows)):
        np.testing.assert_allclose(call(exported, rows[:count]), expected[:count], rtol=1e-4, atol=1e-5)


def log_softmax(scores):
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def folded_in(factors, rows):
    """Users' factors of WMF, float64[B, D], each by the solution of its linear system."""
    items, weights = np.asarray(factors["items"], float), factors["weights"]
    alpha = float(weights.unobserved)
    users = []
    for row in rows:
        own = items[row > 0]
        penalty = float(weights.regularization) * (len(own) + alpha * len(items)) ** float(weights.exponent)
        matrix = own.T @ own + alpha * items.T @ items + penalty * np.eye(items.shape[1])
        users.append(np.linalg.solve(matrix, own.sum(axis=0)))
    return np.stack(users)


@pytest.mark.parametrize("name", RUNS)
def test_every_kind_of_run(runs, dataset, tmp_path, name):
    manifest = export_run(runs[name], tmp_path / "out", console=console())
    assert 0 < manifest["formats"]["jax"]["largest_difference"] < 1e-5
    rows, trained = histories(dataset), restore(runs[name])
    scores = call(tmp_path / "out", rows)
    if not RUNS[name].fusion.fuses:
        np.testing.assert_allclose(scores, trained.score(trained.params, jnp.asarray(rows)), rtol=1e-4, atol=1e-5)
        return
    params = trained.params
    recipes = member_recipes(RUNS[name], trained.run.catalogue)
    logs = [
        log_softmax(np.asarray(recipe.score(one, jnp.asarray(rows))))
        for recipe, one in zip(recipes, params.members, strict=True)
    ]
    expected = np.average(logs, axis=0, weights=params.shares)
    assert manifest["fusion"]["factors"] == RUNS[name].fusion.factors
    if params.factors is not None:
        expected += 2 * folded_in(params.factors, rows) @ np.asarray(params.factors["items"]).T
    if params.linear is None:
        weights = np.zeros((NUM_ITEMS, NUM_ITEMS))
    elif RUNS[name].fusion.keep:
        weights = np.zeros((NUM_ITEMS, NUM_ITEMS))
        np.put_along_axis(weights, np.asarray(params.linear.items), np.asarray(params.linear.weights), axis=1)
    else:
        weights = np.asarray(params.linear["weights"])
    np.testing.assert_allclose(scores, expected + 4 * rows @ weights, rtol=1e-4, atol=1e-5)


def test_factors_that_were_left_out_are_not_in_the_manifest(runs, tmp_path):
    params = restore(runs["fused with factors"]).params
    path = shutil.copytree(runs["fused with factors"], tmp_path / "run")
    shutil.rmtree(path / FUSION)
    save_fused(path, params._replace(factors=None, factor_weight=None))
    assert export_run(path, tmp_path / "out", console=console())["fusion"]["factors"] == "none"


def test_a_run_of_less_precision_is_exported_in_float32(dataset, tmp_path):
    config = run_config("multvae")
    config.model.precision = "bfloat16"
    path = untrained(config, dataset, tmp_path / "run")
    export_run(path, tmp_path / "out", console=console())
    rows = histories(dataset)
    expected = multvae_in_numpy(restore(path).params, rows)
    np.testing.assert_allclose(call(tmp_path / "out", rows), expected, rtol=1e-4, atol=1e-5)


def test_the_manifest_tells_what_there_is(exported, runs, dataset):
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["files"].keys() == {"model.jax", "model.npz", "vocabulary.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == digest
    assert manifest["input"]["shape"] == ["b", NUM_ITEMS]
    assert manifest["vocabulary_digest"] == dataset.vocabulary_digest
    assert manifest["formats"]["jax"]["platforms"] == ["cpu", "cuda", "tpu"]
    assert json.loads((exported / "vocabulary.json").read_text())["title"][3] == "Title 3"
    with np.load(exported / "model.npz") as archive:
        assert {name.split("/")[0] for name in archive} == {"encoder", "decoder"}  # no anchors


ALONE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("piavae_jax", "flax", "optax", "orbax", "polars", "chex"):
            raise ImportError(f"{name} is not to be had")

sys.meta_path.insert(0, Blocker())
"""


def test_the_example_of_the_documentation_needs_none_of_our_code(exported, runs, dataset):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), flags=re.DOTALL)
    example = blocks[0].replace("exports/ml1m", str(exported))
    example = example.replace("[[1, 260, 1196], [2571]]", "[['i3', 'i0', 'unknown'], []]")
    assert len([line for line in blocks[0].splitlines() if line.strip()]) <= 20
    done = subprocess.run([sys.executable, "-c", ALONE + example], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    rows = np.zeros((2, NUM_ITEMS))
    rows[0, [0, 3]] = 1
    scores = multvae_in_numpy(restore(runs["multvae"]).params, rows)
    scores[rows > 0] = -np.inf
    best = [[f"i{item}" for item in row[:10]] for row in np.argsort(-scores)]
    assert done.stdout.splitlines() == [str(row) for row in best]


def test_an_artefact_that_scores_otherwise_is_never_left_behind(runs, tmp_path, monkeypatch):
    load = command._FORMATS["jax"].load
    for name, wrong in {"shifted": lambda scores: scores + 1e-3, "broken": lambda scores: scores * np.nan}.items():

        def load_wrong(folder, wrong=wrong):
            score = load(folder)
            return lambda rows: wrong(score(rows))

        monkeypatch.setitem(command._FORMATS, "jax", command._FORMATS["jax"]._replace(load=load_wrong))
        with pytest.raises(UserError, match=r"jax must score as .* does, within 1e-05, got a difference of"):
            export_run(runs["multvae"], tmp_path / name, console=console())
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_only_if_asked_for(exported, runs, tmp_path):
    before = (exported / "manifest.json").read_text()
    with pytest.raises(UserError, match="exists already: choose another folder or pass --overwrite"):
        export_run(runs["cdae"], exported, console=console())
    assert (exported / "manifest.json").read_text() == before
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(UserError, match=r"has no vocabulary\.json, so it is not replaced"):
        export_run(runs["cdae"], tmp_path, overwrite=True, console=console())
    write_prepared(tiny_dataset(), tmp_path / "data")  # which has a manifest.json too
    with pytest.raises(UserError, match="data exists and has no vocabulary"):
        export_run(runs["cdae"], tmp_path / "data", overwrite=True, console=console())
    export_run(runs["cdae"], tmp_path / "out", console=console())
    with pytest.raises(UserError, match=r"out exists and has no train\.indptr\.npy"):
        write_prepared(tiny_dataset(), tmp_path / "out", overwrite=True)
    assert export_run(runs["multvae"], tmp_path / "out", overwrite=True, console=console())["model"] == "multvae"


@pytest.mark.parametrize(("package", "format"), [("flatbuffers", "jax"), ("jax2onnx", "onnx")])
def test_a_missing_package_is_named_with_the_way_to_get_it(runs, tmp_path, monkeypatch, package, format):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"the package {package} is needed here .* pip install 'piavae-jax"):
        export_run(runs["multvae"], tmp_path / "out", formats=[format], console=console())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["multvae", "hvamp", "fused", "fused with factors"])
def test_onnx(runs, dataset, tmp_path, name):
    pytest.importorskip("jax2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    printed = console()
    export_run(runs[name], tmp_path / "out", formats=["jax", "onnx"], console=printed)
    assert "model.onnx" in printed.file.getvalue()
    rows = histories(dataset)
    (scores,) = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx").run(["scores"], {"rows": rows})
    np.testing.assert_allclose(scores, call(tmp_path / "out", rows), rtol=1e-4, atol=1e-5)


def test_the_command_line(tmp_path):
    def fails(*arguments):
        script = [sys.executable, ROOT / "bin" / "export.py", *arguments]
        done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        return done.stderr

    assert "nowhere is not a run folder" in fails("--run", "nowhere", "--out", "out")
    assert "invalid choice: 'savedmodel'" in fails("--run", "nowhere", "--out", "out", "--format", "savedmodel")
    assert list(tmp_path.iterdir()) == []
