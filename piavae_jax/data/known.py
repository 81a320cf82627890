"""Published sizes of well-known data sets, to tell whether a prepared one is the same.

Raw sizes: the publishers' pages, counting rated items only. Sizes after the protocol: Liang et al., WWW 2018, and the
splits published with it.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from piavae_jax.data.manifest import RawCounts
from piavae_jax.data.prepared import HeldOut, PreparedDataset
from piavae_jax.data.protocol import StrongGeneralization


class RawSizes(NamedTuple):
    """A data set as published."""

    users: int
    items: int | None
    rows: int


class PublishedSplit(NamedTuple):
    """What the protocol of Liang et al. yields on a data set."""

    raw: str
    """Name in `RAW`."""
    min_rating: float
    protocol: StrongGeneralization
    users: int
    interactions: int
    vocabulary: int
    train_users: int
    filtered_items: int | None = None
    validation_targets: int | None = None
    test_targets: int | None = None
    vocabulary_digest: str | None = None
    validation_digest: str | None = None
    test_digest: str | None = None


class Check(NamedTuple):
    """One published figure beside ours."""

    what: str
    published: int | str
    here: int | str

    @property
    def agrees(self) -> bool:
        """Whether the two are equal."""
        return self.published == self.here


RAW = {
    "ml-100k": RawSizes(943, 1_682, 100_000),
    "ml-1m": RawSizes(6_040, 3_706, 1_000_209),
    "ml-10m": RawSizes(69_878, 10_677, 10_000_054),
    "ml-20m": RawSizes(138_493, 26_744, 20_000_263),
    "ml-25m": RawSizes(162_541, 59_047, 25_000_095),
    "ml-32m": RawSizes(200_948, None, 32_000_204),
    "ml-latest-small (2016)": RawSizes(671, 9_066, 100_004),
    "netflix": RawSizes(480_189, 17_770, 100_480_507),
    "msd": RawSizes(1_019_318, 384_546, 48_373_586),
    "goodbooks-v1": RawSizes(53_424, 10_000, 981_756),
    "amazon-book": RawSizes(70_679, 24_915, 847_733),
    "amazon-cd": RawSizes(22_947, 18_395, 422_301),
    "citeulike-a": RawSizes(5_551, 16_980, 204_986),
}

SPLITS = (
    PublishedSplit(
        raw="ml-20m",
        min_rating=4,
        protocol=StrongGeneralization(10_000),
        users=136_677,
        interactions=9_990_682,
        vocabulary=20_108,
        train_users=116_677,
        filtered_items=20_720,
        validation_targets=142_514,
        test_targets=139_775,
        vocabulary_digest="573f58956dbaa86d9d4148cc4e8b530db92a2e972d4e75e1d86df0a76beb6828",
        validation_digest="dc8a84094fe23cff52c4b8af86045e39cdb37cfa9e0eda4904b4d305f96637fa",
        test_digest="82c9b1972dc7c0c00e1eb3b67300478446cd023797143caa850e031cf4782e60",
    ),
    PublishedSplit(
        raw="netflix",
        min_rating=4,
        protocol=StrongGeneralization(40_000),
        users=463_435,
        interactions=56_880_037,
        vocabulary=17_769,
        train_users=383_435,
    ),
    PublishedSplit(
        raw="msd",
        min_rating=1,
        protocol=StrongGeneralization(50_000, min_users_per_item=200, min_items_per_user=20),
        users=571_355,
        interactions=33_633_450,
        vocabulary=41_140,
        train_users=471_355,
    ),
)


def raw_by_rows(raw: RawCounts | None) -> str | None:
    """Name in `RAW` of the data set with as many rows as these, or None."""
    return next((name for name, sizes in RAW.items() if raw is not None and sizes.rows == raw.rows), None)


def find_raw(dataset: PreparedDataset) -> str | None:
    """Name in `RAW` of the data set that this one was prepared from: the one with as many rows, or with its name."""
    manifest = dataset.manifest
    if manifest.raw is None or manifest.source.startswith("generated"):
        return None
    by_name = [name for name in RAW if _squeeze(name) == _squeeze(dataset.name)]
    return raw_by_rows(manifest.raw) or next(iter(by_name), None)


def compare(dataset: PreparedDataset) -> list[Check]:
    """Every published figure beside ours; empty for a data set that is not known."""
    name = find_raw(dataset)
    if name is None:
        return []
    checks = list(_raw_checks(dataset, RAW[name]))
    for split in SPLITS:
        if split.raw == name and _same_settings(dataset, split):
            checks.extend(_split_checks(dataset, split))
    return checks


def target_digest(part: HeldOut, items: pl.DataFrame) -> str:
    """SHA-256 (hex) of the held-out targets: (user index, external item id) pairs, sorted, as little-endian int64."""
    users = np.repeat(part.users, part.target.lengths).astype("<i8")
    ids = items["item_id"].to_numpy()[part.target.indices].astype("<i8")
    order = np.lexsort((ids, users))
    return hashlib.sha256(np.stack([users[order], ids[order]], axis=1).tobytes()).hexdigest()


def _squeeze(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _same_settings(dataset: PreparedDataset, split: PublishedSplit) -> bool:
    settings = {"min_rating": split.min_rating, **dataclasses.asdict(split.protocol)}
    return settings == {**dataset.manifest.parameters, "seed": dataset.manifest.seed}


def _raw_checks(dataset: PreparedDataset, published: RawSizes) -> Iterator[Check]:
    raw = dataset.manifest.raw
    assert raw is not None
    yield Check("raw rows", published.rows, raw.rows)
    yield Check("raw users", published.users, raw.users)
    if published.items is not None:
        yield Check("raw items", published.items, raw.items)


def _split_checks(dataset: PreparedDataset, published: PublishedSplit) -> Iterator[Check]:
    counts = dataset.manifest.counts
    yield Check("interactions", published.interactions, counts.interactions)
    yield Check("users", published.users, counts.users)
    yield Check("training users", published.train_users, counts.train_users)
    yield Check("items of the vocabulary", published.vocabulary, counts.items)
    if published.filtered_items is not None:
        yield Check("items after the filters", published.filtered_items, counts.filtered_items)
    if published.vocabulary_digest is not None:
        yield Check("vocabulary SHA-256", published.vocabulary_digest, dataset.vocabulary_digest)
    parts = (
        ("validation", published.validation_targets, published.validation_digest, dataset.validation),
        ("test", published.test_targets, published.test_digest, dataset.test),
    )
    for split, number, digest, part in parts:
        if number is not None:
            yield Check(f"{split} targets", number, part.target.nnz)
        if digest is not None and dataset.items.schema["item_id"].is_integer():  # of numbers: titles have none
            yield Check(f"{split} targets SHA-256", digest, target_digest(part, dataset.items))
