"""A data set that is split and ready for training, in memory and on disk."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from piavae_jax.data import manifest as manifests
from piavae_jax.data.atomic import new_folder
from piavae_jax.data.csr import CSR
from piavae_jax.data.manifest import Counts, Manifest, RawCounts, SplitCounts
from piavae_jax.errors import UserError

MANIFEST_FILE = "manifest.json"
MARKER_FILE = "train.indptr.npy"
"""What a folder must hold to be replaced; exports have a manifest too."""
ITEMS_FILE = "items.parquet"
USERS_FILE = "users.parquet"


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """V users' rows, each in two disjoint parts: what the model is shown, and what it must rank high."""

    users: np.ndarray
    """int32[V], user index of each row."""
    input: CSR
    """V rows, the fold-in input."""
    target: CSR
    """V rows, the held-out interactions; a row may be empty."""


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedDataset:
    """Training rows, validation and test, and the external ids behind item and user indices."""

    manifest: Manifest
    train: CSR
    """U_train rows."""
    train_users: np.ndarray
    """int32[U_train], user index of each training row."""
    validation: HeldOut
    test: HeldOut
    items: pl.DataFrame
    """Columns `item_id` (Int64 or String) and `title` (String, null where unknown); row number = item index."""
    users: pl.DataFrame
    """Column `user_id` (Int64 or String); row number = user index."""
    path: Path | None = None
    """The folder that it was loaded from or written to."""

    @property
    def name(self) -> str:
        """The data set's name, for tables and logs."""
        return self.manifest.name

    @property
    def num_items(self) -> int:
        """I."""
        return self.items.height

    @property
    def num_users(self) -> int:
        """All users, training and held-out."""
        return self.users.height

    @cached_property
    def vocabulary_digest(self) -> str:
        """SHA-256 (hex) that tells one item vocabulary, its order included, from any other."""
        return vocabulary_digest(self.items["item_id"])


def vocabulary_digest(item_ids: pl.Series) -> str:
    """SHA-256 (hex) of the external item ids in order, as a compact JSON list: `[1,2]` is not `["1","2"]`."""
    text = json.dumps(item_ids.to_list(), separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def assemble(
    *,
    name: str,
    source: str,
    protocol: str,
    parameters: Mapping[str, manifests.Value],
    seed: int | None,
    raw: RawCounts | None,
    filtered_items: int,
    interactions: int,
    dropped: Mapping[str, int],
    train: CSR,
    train_users: np.ndarray,
    validation: HeldOut,
    test: HeldOut,
    items: pl.DataFrame,
    users: pl.DataFrame,
) -> PreparedDataset:
    """Put a split together and count what is in it.

    Args:
      raw: sizes of the source.
      filtered_items: items after the filters, those without a training user included.
      interactions: distinct interactions of those items.
      dropped: events left out, by reason.

    The others are the fields of `Manifest` and `PreparedDataset` of the same name.
    """
    counts = Counts(
        users=users.height,
        items=items.height,
        filtered_items=filtered_items,
        interactions=interactions,
        train_users=train.num_rows,
        train_interactions=train.nnz,
        validation=_split_counts(validation),
        test=_split_counts(test),
    )
    digest = vocabulary_digest(items["item_id"])
    manifest = Manifest(name, source, protocol, dict(parameters), seed, counts, dict(dropped), raw, digest)
    return PreparedDataset(manifest, train, train_users, validation, test, items, users)


def _split_counts(part: HeldOut) -> SplitCounts:
    return SplitCounts(
        users=part.target.num_rows,
        users_without_target=int(np.count_nonzero(part.target.lengths == 0)),
        input_interactions=part.input.nnz,
        target_interactions=part.target.nnz,
    )


def write_prepared(dataset: PreparedDataset, folder: Path | str, *, overwrite: bool = False) -> PreparedDataset:
    """Write a data set to `folder`, which appears whole or not at all.

    Returns:
      The same data set with `path` and the manifest's file hashes filled in.

    Raises:
      UserError: if `folder` exists and `overwrite` is not set, or is not a prepared data set.
    """
    folder = Path(folder)
    with new_folder(folder, overwrite=overwrite, marker=MARKER_FILE) as staging:
        for name, array in _arrays(dataset):
            np.save(staging / name, array, allow_pickle=False)
        dataset.items.write_parquet(staging / ITEMS_FILE)
        dataset.users.write_parquet(staging / USERS_FILE)
        files = {path.name: sha256(path) for path in sorted(staging.iterdir())}
        manifest = dataclasses.replace(dataset.manifest, files=files)
        (staging / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    return dataclasses.replace(dataset, manifest=manifest, path=folder)


def load_prepared(folder: Path | str, *, verify: bool = True, mmap: bool = True) -> PreparedDataset:
    """Load what `write_prepared` wrote.

    Args:
      folder: a prepared data set.
      verify: hash every file and compare with the manifest (0.1 s for 10 million interactions).
      mmap: leave the arrays on disk and read them page by page as they are used.

    Raises:
      UserError: if the folder or one of its files is missing, damaged, or of another format version.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    _check_files(folder, manifest, verify=verify)
    try:
        return _read_dataset(folder, manifest, mmap=mmap)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{folder} cannot be read ({error}): prepare the data again") from error


def _arrays(dataset: PreparedDataset) -> Iterator[tuple[str, np.ndarray]]:
    yield "train.users.npy", dataset.train_users
    yield "train.indptr.npy", dataset.train.indptr
    yield "train.indices.npy", dataset.train.indices
    for split, part in (("validation", dataset.validation), ("test", dataset.test)):
        yield f"{split}.users.npy", part.users
        for role, rows in (("input", part.input), ("target", part.target)):
            yield f"{split}.{role}_indptr.npy", rows.indptr
            yield f"{split}.{role}_indices.npy", rows.indices


def _read_manifest(folder: Path) -> Manifest:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: pass a data set that bin/prepare.py wrote")
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise UserError(f"{folder} has no {MANIFEST_FILE}: pass a data set that bin/prepare.py wrote")
    return manifests.from_json(path.read_text(encoding="utf-8"), where=str(path))


def _check_files(folder: Path, manifest: Manifest, *, verify: bool) -> None:
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing though the manifest lists it: prepare the data again")
        if verify and sha256(path) != expected:
            raise UserError(f"{path} is damaged, its SHA-256 is not the manifest's {expected}: prepare the data again")


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_dataset(folder: Path, manifest: Manifest, *, mmap: bool) -> PreparedDataset:
    def array(name: str) -> np.ndarray:
        return np.load(folder / f"{name}.npy", mmap_mode="r" if mmap else None, allow_pickle=False)

    def rows(prefix: str) -> CSR:
        return CSR(array(f"{prefix}indptr"), array(f"{prefix}indices"))

    def held_out(split: str) -> HeldOut:
        return HeldOut(array(f"{split}.users"), rows(f"{split}.input_"), rows(f"{split}.target_"))

    return PreparedDataset(
        manifest=manifest,
        train=rows("train."),
        train_users=array("train.users"),
        validation=held_out("validation"),
        test=held_out("test"),
        items=pl.read_parquet(folder / ITEMS_FILE, glob=False),
        users=pl.read_parquet(folder / USERS_FILE, glob=False),
        path=folder,
    )
