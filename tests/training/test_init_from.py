"""A run that starts from an earlier one with another vocabulary."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import chex
import jax
import numpy as np
import polars as pl
import pytest
from random_params import random_params
from tiny_runs import NUM_ITEMS, TRAIN_USERS, recipe_of, tiny_config, tiny_dataset

from piavae_jax import UserError
from piavae_jax.config import apply_settings
from piavae_jax.data.csr import from_pairs
from piavae_jax.data.prepared import write_prepared
from piavae_jax.training import run_folder
from piavae_jax.training.ensemble import fit_fused
from piavae_jax.training.fit import Silent, fit
from piavae_jax.training.item_mapping import map_params, match_items, place_by_neighbours
from piavae_jax.training.layout import item_specs
from piavae_jax.training.restore import restore
from piavae_jax.training.session import build_session, start_state
from piavae_jax.training.warm_start import WarmStart, _check_body, find_origin, warm_state

ROOT = Path(__file__).parents[2]
NEW = (3, 11, 20)
"""Items of the second window that the first does not know."""
KEPT = [n for n in range(NUM_ITEMS) if n not in NEW]
OLD = {n: 7 * n % NUM_ITEMS for n in KEPT}
"""Index in the first window's vocabulary of each item of the second."""


def second_window():
    dataset = tiny_dataset(seed=1, name="second")
    ids = [f"new{n}" if n in NEW else f"i{OLD[n]}" for n in range(NUM_ITEMS)]
    return dataclasses.replace(dataset, items=dataset.items.with_columns(item_id=pl.Series(ids)))


def short_config():
    config = tiny_config()
    config.training.epochs = 2
    return config


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    root = tmp_path_factory.mktemp("windows")
    return [write_prepared(data, root / data.name) for data in (tiny_dataset(), second_window())]


@pytest.fixture(scope="module")
def source(windows, tmp_path_factory):
    return fit(short_config(), windows[0], tmp_path_factory.mktemp("runs") / "first").run.path


@pytest.fixture(scope="module")
def finished(windows, source, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "second"
    return fit(short_config(), windows[1], workdir, init_from=WarmStart(source))


# The mapping.


@pytest.mark.parametrize("dtype", [pl.Int64, pl.String])
def test_items_are_matched_by_their_external_ids(dtype):
    old, new = (pl.Series(ids).cast(dtype) for ids in ([5, 9, 2, 7], [7, 1, 5, 3, 2]))
    mapping = match_items(new, old)
    assert mapping.shared.tolist() == [0, 2, 4]
    assert mapping.sources.tolist() == [3, 0, 2]
    assert (len(mapping.placed), mapping.weights.shape) == (0, (0, 3))


def test_ids_of_two_types_have_nothing_in_common():
    assert not len(match_items(pl.Series(["1", "2"]), pl.Series([1, 2])).shared)
    assert not len(match_items(pl.Series([1, 2]), pl.Series(["1", "x"])).shared)


def test_neighbours_weigh_what_they_co_occur():
    generator = np.random.default_rng(0)
    dense = generator.random((30, 8)) < 0.3
    dense[:, 6] = False
    dense[0] = [False] * 6 + [True, True]  # the only user of item 6 has but another new item
    mapping = match_items(pl.Series([0, 1, 2, 3, 4, 50, 60, 70]), pl.Series([4, 3, 9, 2, 1, 0]))
    mapping = place_by_neighbours(mapping, from_pairs(*np.nonzero(dense), num_rows=30), 8)
    assert mapping.placed.tolist() == [5, 7]
    for row, item in enumerate(mapping.placed):
        counts = [sum(user[item] and user[other] for user in dense) for other in range(5)]
        np.testing.assert_allclose(mapping.weights.toarray()[row], np.array(counts) / sum(counts), rtol=1e-15)


ENCODER, DECODER = "['encoder']['InputLayer_0']['kernel']", "['decoder']['Linear_1']['kernel']"
MULTVAE = {ENCODER: 0, DECODER: 1, DECODER.replace("kernel", "bias"): 0, "['anchors']": 0}
LINEAR = {ENCODER: 0, "['decoder']['kernel']": 1, "['decoder']['bias']": 0}
HVAMP = {
    "['encoder']['top']['InputLayer_0']['kernel']": 0,
    "['encoder']['bottom']['InputLayer_0']['kernel']": 0,
    "['decoder']['items']['OutputLayer_0']['kernel']": 1,
    "['decoder']['items']['OutputLayer_0']['bias']": 0,
    "['prior']['pseudo_inputs']": 1,
    "['anchors']": 0,
}
BODIES = {
    "multvae": ((16,), "normal", MULTVAE),
    "multvae with a VampPrior": ((16,), "vamp", MULTVAE | {"['prior']['pseudo_inputs']": 1}),
    "recvae": ((16, 16), "composite", LINEAR | {"['anchors']": 0, "['prior']['InputLayer_0']['kernel']": 0}),
    "hvamp": ((16, 16), "normal", HVAMP),
    "ract": ((16,), "normal", MULTVAE),
    "lambdanet": ((16,), "normal", MULTVAE),
    "multidae": ((16,), "normal", LINEAR),
    "cdae": ((16,), "normal", LINEAR),
    "warp": ((16,), "normal", LINEAR),
}


def body_config(body):
    config = short_config()
    hidden, prior, _ = BODIES[body]
    config.model.name, config.model.hidden, config.prior.kind = body.split()[0], hidden, prior
    config.prior.pseudo_inputs = 5
    config.pia.enabled = config.model.name not in ("multidae", "cdae", "warp")
    return config


def drawn(config, num_items, seed):
    return jax.tree.map(np.asarray, random_params(recipe_of(config, num_items).init, seed=seed))


@pytest.mark.parametrize("body", BODIES)
def test_rows_of_items_move_and_all_else_is_copied(body):
    config, axes = body_config(body), BODIES[body][2]
    old, fresh = drawn(config, 6, seed=0), drawn(config, 5, seed=1)
    specs = item_specs(lambda count: recipe_of(config, count).init(jax.random.key(0)), 5)
    mapping = match_items(pl.Series(["c", "x", "a", "y", "e"]), pl.Series(list("abcdef")))
    rows = from_pairs(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 4, 0, 1, 3]), num_rows=3)
    mapped = map_params(old, fresh, specs, place_by_neighbours(mapping, rows, 5))
    chex.assert_trees_all_equal_shapes_and_dtypes(mapped, fresh)
    leaves = [dict((jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree.leaves_with_path(tree)) for tree in
              (mapped, old, fresh)]  # fmt: skip
    assert axes.keys() <= leaves[0].keys()
    for name in leaves[0]:
        ours, trained, start = (leaf[name] for leaf in leaves)
        if name not in axes:
            np.testing.assert_array_equal(ours, start if name == "['users']" else trained)
            continue
        ours, trained, start = (np.moveaxis(array, axes[name], 0) for array in (ours, trained, start))
        np.testing.assert_array_equal(ours[[0, 2, 4]], trained[[2, 0, 4]])
        np.testing.assert_allclose(ours[1], (2 * trained[2] + trained[4]) / 3, rtol=1e-5, atol=1e-6)  # x: c twice, e
        np.testing.assert_array_equal(ours[3], start[3])  # y: nobody has it with a known item


def test_anchors_start_afresh_where_there_were_none_and_are_left_out_where_there_are_none():
    with_pia, without = short_config(), short_config()
    without.pia.enabled = False
    mapping = match_items(pl.Series([1, 2]), pl.Series([2, 3]))

    def mapped(source, target):
        fresh = drawn(target, 2, seed=1)
        specs = item_specs(lambda count: recipe_of(target, count).init(jax.random.key(0)), 2)
        return map_params(drawn(source, 2, seed=0), fresh, specs, mapping), fresh

    params, fresh = mapped(without, with_pia)
    np.testing.assert_array_equal(params["anchors"], fresh["anchors"])
    assert "anchors" not in mapped(with_pia, without)[0]


def test_what_neither_model_uses_makes_no_other_body(source):
    run = run_folder.load(source)
    _check_body(run, apply_settings(run.config, {"prior.pseudo_inputs": run.config.prior.pseudo_inputs + 1}))
    with pytest.raises(UserError, match="a run starts from one of the same body only"):
        _check_body(run, apply_settings(run.config, {"prior.kind": "vamp"}))


# The run.


@pytest.mark.parametrize("new_items", ["neighbours", "fresh"])
def test_the_state_is_fresh_but_for_its_parameters(windows, source, new_items):
    config, (_, dataset) = short_config(), windows
    state = start_state(build_session(config, dataset), config)
    origin = find_origin(WarmStart(source, new_items), config, dataset)
    warm = warm_state(state, origin, config, dataset)
    trained = restore(source).params
    kernel, fresh = (np.asarray(tree.params["encoder"]["InputLayer_0"]["kernel"]) for tree in (warm, state))
    old = np.asarray(trained["encoder"]["InputLayer_0"]["kernel"])
    np.testing.assert_array_equal(kernel[KEPT], old[[OLD[n] for n in KEPT]])
    dense = np.zeros((TRAIN_USERS, NUM_ITEMS))
    dense[np.repeat(np.arange(TRAIN_USERS), dataset.train.lengths), dataset.train.indices] = 1
    for n in NEW:
        counts = dense[:, KEPT].T @ dense[:, n]
        expected = counts / counts.sum() @ old[[OLD[m] for m in KEPT]] if new_items == "neighbours" else fresh[n]
        np.testing.assert_allclose(kernel[n], expected, rtol=1e-5, atol=1e-7)
    assert (origin.kept, origin.from_neighbours + origin.fresh, origin.dropped) == (37, 3, 3)
    chex.assert_trees_all_equal(warm._replace(params=0, key=0), state._replace(params=0, key=0))
    chex.assert_trees_all_equal(*(jax.random.key_data(tree.key) for tree in (warm, state)))


def test_items_split_over_devices_start_from_the_same_numbers(windows, source):
    config, (_, dataset) = short_config(), windows
    origin = find_origin(WarmStart(source), config, dataset)
    config.training.devices = config.training.item_shards = 3  # 40 items do not divide
    state = start_state(build_session(config, dataset), config)
    split = warm_state(state, origin, config, dataset)
    config.training.devices = config.training.item_shards = 1
    whole = warm_state(start_state(build_session(config, dataset), config), origin, config, dataset)
    assert split.params["anchors"].sharding == state.params["anchors"].sharding
    assert split.params["anchors"].shape[0] == 42
    np.testing.assert_array_equal(split.params["anchors"][:NUM_ITEMS], whole.params["anchors"])
    np.testing.assert_array_equal(split.params["anchors"][NUM_ITEMS:], 0)


def test_the_run_folder_says_where_it_started(finished, source):
    origin = json.loads((finished.run.path / "run.json").read_text())["origin"]
    assert origin == run_folder.load(finished.run.path).origin._asdict()
    assert (origin["path"], origin["name"], origin["data"]) == (str(source), "tiny", "tiny")
    assert (origin["kept"], origin["new_items"]) == (37, "neighbours")
    assert run_folder.load(source).origin is None


class Stop(Exception):
    """Raised by a listener in place of a crash."""


class StopAt(Silent):
    def __init__(self, epoch):
        self._epoch = epoch

    def run_started(self, **event):
        if self._epoch == 0:
            raise Stop

    def epoch_done(self, record):
        if record["epoch"] == self._epoch:
            raise Stop


@pytest.mark.parametrize("again", [True, False])
def test_it_goes_on_to_the_same_bits_from_the_first_instant(finished, windows, source, tmp_path, again):
    start = WarmStart(source)
    for epoch in (0, 1):
        with pytest.raises(Stop):
            fit(
                short_config(),
                windows[1],
                tmp_path / "run",
                listener=StopAt(epoch),
                init_from=start if epoch == 0 or again else None,
            )
    resumed = fit(short_config(), windows[1], tmp_path / "run", init_from=start if again else None)
    chex.assert_trees_all_equal(resumed.params, finished.params)
    assert [record["loss"] for record in resumed.records] == [record["loss"] for record in finished.records]


def test_a_source_that_changed_before_the_first_checkpoint_is_refused(windows, source, tmp_path):
    copy = shutil.copytree(source, tmp_path / "source")
    with pytest.raises(Stop):
        fit(short_config(), windows[1], tmp_path / "run", listener=StopAt(0), init_from=WarmStart(copy))
    shutil.rmtree(copy)
    config = short_config()
    config.seed = 9
    fit(config, windows[0], copy)
    with pytest.raises(UserError, match="has changed since this run started from it"):
        fit(short_config(), windows[1], tmp_path / "run")


def test_a_run_that_began_otherwise_is_refused(finished, windows, source, tmp_path):
    with pytest.raises(UserError, match=r"started from .*first, new items from neighbours; now it is .* and fresh"):
        fit(short_config(), windows[1], finished.run.path, init_from=WarmStart(source, "fresh"))
    with pytest.raises(UserError, match="was begun without another run to start from"):
        fit(short_config(), windows[0], source, init_from=WarmStart(finished.run.path))


def test_what_cannot_be_started_from_is_refused_and_nothing_written(windows, source, tmp_path):
    def refused(match, *, start=source, dataset=windows[1], **fields):
        config = short_config()
        for name, value in fields.items():
            part, field = name.split("__")
            setattr(getattr(config, part), field, value)
        with pytest.raises(UserError, match=match):
            fit(config, dataset, tmp_path / "run", init_from=WarmStart(start))
        assert not (tmp_path / "run").exists()

    refused(r"has config.model.hidden=\(16,\), the new run \(8,\)", model__hidden=(8,))
    refused("has config.model.name='multvae', the new run 'ract'", model__name="ract")
    refused("has config.prior.kind='normal', the new run 'vamp'", prior__kind="vamp")
    refused("is not a run folder", start=tmp_path)
    numbers = dataclasses.replace(
        windows[1], items=windows[1].items.with_columns(item_id=pl.Series(np.arange(NUM_ITEMS)))
    )
    refused("knows none of the 40 items .* type String there, Int64 here", dataset=numbers)


def test_a_fused_run_starts_member_by_member(windows, source, tmp_path):
    def config(members):
        config = short_config()
        config.training.epochs, config.fusion.members = 1, members
        return config

    run_folder.create(tmp_path / "first", config(2), windows[0])
    for seed in ("3", "4"):
        shutil.copytree(source, tmp_path / "first" / "members" / seed)
    start = WarmStart(tmp_path / "first")
    for members, message in (
        (3, r"has config\.fusion\.members=2 and 0 others, the new run 3"),
        (1, "start from one of those in"),
    ):
        with pytest.raises(UserError, match=message):
            (fit_fused if members > 1 else fit)(config(members), windows[1], tmp_path / "run", init_from=start)
        assert not (tmp_path / "run").exists()
    result = fit_fused(config(2), windows[1], tmp_path / "run", init_from=start)
    for member, seed in zip(result.members, ("3", "4"), strict=True):
        assert run_folder.load(member.run.path).origin.path == str(tmp_path / "first" / "members" / seed)


def test_the_command_line(windows, source, tmp_path):
    (tmp_path / "config.py").write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        f"from tiny_runs import tiny_config\n\ndef get_config():\n    return tiny_config({str(windows[1].path)!r})\n"
    )

    def train(*arguments):
        command = [sys.executable, ROOT / "bin" / "train.py", "--config=config.py", "--config.training.epochs=1"]
        return subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300)

    done = train("--init-new-items=fresh")
    assert (done.returncode, "give --init-from RUN" in done.stderr) == (2, True)
    assert not (tmp_path / "runs" / "tiny").exists()
    done = train("--init-from", str(source), "--init-new-items", "fresh")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"started from {source}, trained on tiny\n" in done.stdout
    assert "items: 37 kept, 0 new from their neighbours, 3 new and fresh, 3 dropped" in done.stdout
