"""Streamed interactions: the same bits as resident ones, from a thread that always ends."""

import threading
from functools import partial
from importlib.metadata import version

import chex
import jax
import numpy as np
import pytest
from jax.sharding import AxisType
from tiny_runs import tiny_config, tiny_dataset

from piavae_jax.data.prepared import load_prepared, write_prepared
from piavae_jax.training import programs
from piavae_jax.training.feed import prefetch, send_orders, stream_batches
from piavae_jax.training.fit import Silent, fit


class Broken(Exception):
    """Raised by a reader."""


class Interrupt(Silent):
    """Presses Ctrl-C in the second chunk of an epoch."""

    def chunk_done(self, *, epoch, step, means):
        if step > 3:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "tiny"
    write_prepared(tiny_dataset(), folder)
    return load_prepared(folder)


def config(**training):
    changed = tiny_config()
    changed.training.epochs = 2
    for name, value in training.items():
        setattr(changed.training, name, value)
    return changed


@pytest.fixture
def usual_code(monkeypatch):
    """Programs as users have them. The older emitter of loops, which the suite compiles with where there is one
    (`conftest`), may round the same expression in another way in another program."""
    if version("jaxlib").startswith("0.10."):
        monkeypatch.setattr(jax, "jit", partial(jax.jit, compiler_options={"xla_cpu_use_fusion_emitters": True}))
    programs.forget()
    yield
    programs.forget()


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_values_come_in_order_and_one_ahead():
    loaded = []
    with_next = threading.Event()

    def load(value):
        loaded.append(value)
        if len(loaded) == 2:
            with_next.set()
        return value * 10

    values = prefetch(load, range(5))
    assert next(values) == 0
    assert with_next.wait(timeout=30)  # without being asked for
    assert loaded == [0, 1]
    assert list(values) == [10, 20, 30, 40]
    assert not readers()


def test_nothing_to_load():
    assert list(prefetch(int, [])) == []


def test_an_error_of_the_reader_is_raised_in_turn():
    def load(value):
        if value == 1:
            raise Broken
        return value

    values = prefetch(load, range(4))
    assert next(values) == 0
    with pytest.raises(Broken):
        next(values)
    assert not readers()


def test_a_reader_ends_when_the_caller_stops():
    values = prefetch(int, range(1000))
    next(values)
    assert readers()
    values.close()
    assert not readers()


@pytest.mark.usefixtures("usual_code")
@pytest.mark.parametrize("devices", [1, 3])  # three do not divide the batch of 16
def test_streamed_steps_are_the_resident_ones_to_the_bit(dataset, tmp_path, devices):
    resident, streamed = (
        fit(config(devices=devices, interactions=place), dataset, tmp_path / place) for place in ("device", "stream")
    )
    assert streamed.session.rows is None
    chex.assert_trees_all_equal(streamed.params, resident.params)
    assert [record["loss"] for record in streamed.records] == [record["loss"] for record in resident.records]
    assert not readers()


@pytest.mark.usefixtures("usual_code")
def test_a_run_may_change_where_its_interactions_are(dataset, tmp_path):
    expected = fit(config(), dataset, tmp_path / "whole")
    fit(config(epochs=1), dataset, tmp_path / "run")
    chex.assert_trees_all_equal(fit(config(interactions="stream"), dataset, tmp_path / "run").params, expected.params)


def test_an_interrupted_epoch_leaves_no_reader(dataset, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(config(steps_per_dispatch=1, interactions="stream"), dataset, tmp_path / "run", listener=Interrupt())
    assert not readers()


def test_chunks_of_every_epoch_share_two_programs(dataset, tmp_path):
    """Five steps in chunks of at most three: one of three, one of two."""
    session = fit(config(epochs=3, interactions="stream", batch_size=10), dataset, tmp_path / "run").session
    assert session.run_steps["joint"]._cache_size() == 2


@pytest.mark.parametrize("make_feed", [send_orders, lambda mesh: stream_batches(tiny_dataset().train, mesh)])
def test_each_device_gets_its_own_share(make_feed):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    order = np.arange(48, dtype=np.int32).reshape(3, 16)
    (steps,) = make_feed(mesh)([order], 128)
    users = steps if isinstance(steps, jax.Array) else steps.users
    for shard in users.addressable_shards:
        np.testing.assert_array_equal(shard.data, order[:, 4 * shard.device.id : 4 * shard.device.id + 4])
