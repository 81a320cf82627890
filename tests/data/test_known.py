import dataclasses
import hashlib
import json
import struct

import numpy as np
import polars as pl
import pytest

from piavae_jax.data import known
from piavae_jax.data.cleaning import clean
from piavae_jax.data.csr import from_pairs
from piavae_jax.data.interactions import Interactions
from piavae_jax.data.prepared import HeldOut, vocabulary_digest
from piavae_jax.data.protocol import StrongGeneralization

ML20M = next(split for split in known.SPLITS if split.raw == "ml-20m")


@pytest.fixture
def dataset():
    pairs = [(user, item) for user in range(30) for item in range(user % 3, 9 + user % 3)]
    events = pl.LazyFrame(pairs, schema=["user", "item"], orient="row").with_columns(rating=pl.lit(5.0))
    return StrongGeneralization(4).split(clean(Interactions(events, source="log"), min_rating=4), name="mine")


@pytest.mark.parametrize(
    ("first", "published", "rows"),
    [(116_677, ML20M.validation_digest, ML20M.validation_targets), (126_677, ML20M.test_digest, ML20M.test_targets)],
)
def test_ml20m_target_digests_are_those_of_the_published_rows(shared_data, first, published, rows):
    data = np.load(shared_data / "ml20m_te20.npz")
    pairs = sorted(zip(data["users"].tolist(), data["items"].tolist(), strict=True))
    pairs = [pair for pair in pairs if first <= pair[0] < first + 10_000]
    assert len(pairs) == rows
    assert hashlib.sha256(b"".join(struct.pack("<qq", *pair) for pair in pairs)).hexdigest() == published


def test_ml20m_target_digest_is_recomputed_from_a_prepared_part(shared_data):
    data = np.load(shared_data / "ml20m_te20.npz")
    catalogue = np.loadtxt(shared_data / "ml20m_te20_catalogue.txt", dtype=np.int64)
    rows = (data["users"] >= 126_677).nonzero()[0]
    index_of = {item: index for index, item in enumerate(catalogue.tolist())}
    items = np.array([index_of[item] for item in data["items"][rows].tolist()])
    target = from_pairs(data["users"][rows] - 126_677, items, num_rows=10_000)
    part = HeldOut(np.arange(126_677, 136_677, dtype=np.int32), target, target)
    assert known.target_digest(part, pl.DataFrame({"item_id": catalogue})) == ML20M.test_digest


def test_ml20m_vocabulary_digest_is_that_of_the_published_list(shared_data):
    ids = [int(line) for line in (shared_data / "ml20m_te20_catalogue.txt").read_text().split()]
    assert hashlib.sha256(json.dumps(ids, separators=(",", ":")).encode()).hexdigest() == ML20M.vocabulary_digest
    assert vocabulary_digest(pl.Series(ids)) == ML20M.vocabulary_digest
    assert len(ids) == ML20M.vocabulary


def test_the_target_digest_does_not_depend_on_item_indices(dataset):
    shuffled = np.random.default_rng(0).permutation(dataset.num_items)
    inverse = np.argsort(shuffled)
    target = dataset.test.target
    renamed = from_pairs(np.repeat(np.arange(target.num_rows), target.lengths), inverse[target.indices], num_rows=4)
    part = dataclasses.replace(dataset.test, target=renamed)
    digest = known.target_digest(dataset.test, dataset.items)
    assert known.target_digest(part, dataset.items[shuffled]) == digest
    assert known.target_digest(dataset.validation, dataset.items) != digest
    assert known.target_digest(part, dataset.items) != digest


def _published(dataset, **changes):
    counts = dataset.manifest.counts
    split = known.PublishedSplit(
        raw="mine",
        min_rating=4,
        protocol=StrongGeneralization(4),
        users=counts.users,
        interactions=counts.interactions,
        vocabulary=counts.items,
        train_users=counts.train_users,
        filtered_items=counts.filtered_items,
        validation_targets=dataset.validation.target.nnz,
        test_targets=dataset.test.target.nnz,
        vocabulary_digest=dataset.vocabulary_digest,
        validation_digest=known.target_digest(dataset.validation, dataset.items),
        test_digest=known.target_digest(dataset.test, dataset.items),
    )
    return split._replace(**changes)


def test_compares_every_published_figure(dataset, monkeypatch):
    monkeypatch.setitem(known.RAW, "mine", known.RawSizes(30, 11, 270))
    monkeypatch.setattr(known, "SPLITS", (_published(dataset),))
    checks = known.compare(dataset)
    assert len(checks) == 3 + 10
    assert all(check.agrees for check in checks)
    for field in (
        "users",
        "interactions",
        "vocabulary",
        "train_users",
        "filtered_items",
        "validation_targets",
        "test_targets",
    ):
        monkeypatch.setattr(known, "SPLITS", (_published(dataset, **{field: 1}),))
        assert [check.published for check in known.compare(dataset) if not check.agrees] == [1]
    for field in ("vocabulary_digest", "validation_digest", "test_digest"):
        monkeypatch.setattr(known, "SPLITS", (_published(dataset, **{field: "0"}),))
        assert [check.published for check in known.compare(dataset) if not check.agrees] == ["0"]


def test_other_settings_are_not_held_against_the_published_split(dataset, monkeypatch):
    monkeypatch.setitem(known.RAW, "mine", known.RawSizes(30, None, 270))
    for protocol in (StrongGeneralization(5), StrongGeneralization(4, seed=1)):
        monkeypatch.setattr(known, "SPLITS", (_published(dataset, protocol=protocol),))
        assert [check.what for check in known.compare(dataset)] == ["raw rows", "raw users"]


def test_a_data_set_is_recognised_by_rows_or_by_name(dataset):
    raw = dataclasses.replace(dataset.manifest.raw, rows=20_000_263)
    by_rows = dataclasses.replace(dataset, manifest=dataclasses.replace(dataset.manifest, raw=raw))
    by_name = dataclasses.replace(dataset, manifest=dataclasses.replace(dataset.manifest, name="ML_20M"))
    assert known.find_raw(dataset) is None
    assert known.find_raw(by_rows) == known.find_raw(by_name) == "ml-20m"
    assert [check.agrees for check in known.compare(by_name)] == [False, False, False]
    assert known.compare(dataset) == []


def test_generated_data_of_the_same_name_is_not_compared(dataset):
    manifest = dataclasses.replace(dataset.manifest, name="ml-20m", source="generated, 30 users")
    assert known.find_raw(dataclasses.replace(dataset, manifest=manifest)) is None


@pytest.mark.parametrize("name", ["ml1m", "ml100k", "citeulike_a", "amazon_cd"])
def test_raw_sizes_are_those_of_the_data_at_hand(shared_data, name):
    data = np.load(shared_data / f"{name}.npz")
    sizes = next(sizes for known_name, sizes in known.RAW.items() if known._squeeze(known_name) == known._squeeze(name))
    assert sizes == (len(np.unique(data["users"])), len(np.unique(data["items"])), len(data["users"]))


def test_items_known_by_titles_have_no_digest_of_numbers(dataset, monkeypatch):
    monkeypatch.setitem(known.RAW, "mine", known.RawSizes(30, 11, 270))
    monkeypatch.setattr(known, "SPLITS", (_published(dataset),))
    titled = dataclasses.replace(dataset, items=dataset.items.with_columns(item_id=pl.col("item_id").cast(pl.String)))
    assert [check.what for check in known.compare(titled) if "targets" in check.what] == [
        "validation targets",
        "test targets",
    ]
