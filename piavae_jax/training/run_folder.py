"""A run folder: everything about a run that is not weights, in files that people and programs can read."""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import polars as pl

from piavae_jax import config as configs
from piavae_jax.config import ExperimentConfig
from piavae_jax.config.schema import OF_THE_MACHINE
from piavae_jax.data.atomic import new_folder
from piavae_jax.data.json_files import write_json
from piavae_jax.data.locks import exclusive
from piavae_jax.data.manifest import library_version
from piavae_jax.data.prepared import PreparedDataset, vocabulary_digest
from piavae_jax.errors import UserError
from piavae_jax.training.catalogue import Catalogue, catalogue_of

FORMAT_VERSION = 2
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_INFO, _CONFIG, _VOCABULARY, _METRICS = "run.json", "config.json", "vocabulary.parquet", "metrics.jsonl"


class Origin(NamedTuple):
    """The earlier run that a run started from."""

    path: str
    """Its folder, absolute."""
    name: str
    data: str
    """Name of the data set that it was trained on."""
    params_digest: str
    """SHA-256 of the parameters that it had."""
    new_items: str
    """What items that it did not know start from, where possible."""
    kept: int
    """Items that both know."""
    from_neighbours: int
    """New items that started from the means of their neighbours' rows."""
    fresh: int
    """New items that started like those of any other run."""
    dropped: int
    """Items that only the earlier run knows."""


class RunFolder(NamedTuple):
    """A run on disk. It needs no training data to be evaluated or to recommend."""

    path: Path
    config: ExperimentConfig
    vocabulary: pl.DataFrame
    """Columns `item_id`, `title` (null where unknown) and `train_users`, the item's popularity; row = item index."""
    data_name: str
    """Name of the data set that it was trained on."""
    data_digest: str
    """Digest of that data set's arrays and vocabulary."""
    num_train_users: int
    origin: Origin | None = None
    """What it started from, if from another run."""

    @property
    def metrics_file(self) -> Path:
        """`metrics.jsonl`, one line an epoch."""
        return self.path / _METRICS

    @property
    def catalogue(self) -> Catalogue:
        """The items and users that the model was built for."""
        return Catalogue(self.vocabulary["train_users"].to_numpy(), self.num_train_users)

    @property
    def vocabulary_digest(self) -> str:
        """Digest of the item vocabulary; data to evaluate on must have the same."""
        return vocabulary_digest(self.vocabulary["item_id"])


def data_digest(dataset: PreparedDataset) -> str:
    """SHA-256 (hex) that tells one prepared data set, its split included, from any other."""
    arrays = [digest for name, digest in sorted(dataset.manifest.files.items()) if name.endswith(".npy")]
    return hashlib.sha256("".join([dataset.vocabulary_digest, *arrays]).encode()).hexdigest()


def create(
    path: Path, config: ExperimentConfig, dataset: PreparedDataset, *, origin: Origin | None = None
) -> RunFolder:
    """Write a new run folder, whole or not at all.

    Raises:
      UserError: the folder exists and is not empty.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} exists and holds no run; choose another --config.workdir, or empty it")
    catalogue = catalogue_of(dataset)
    popularity = pl.Series(catalogue.train_users, dtype=pl.Int64)
    vocabulary = dataset.items.select("item_id", "title").with_columns(train_users=popularity)
    info = {
        "format_version": FORMAT_VERSION,
        "data": {
            "name": dataset.name,
            "digest": data_digest(dataset),
            "train_users": catalogue.num_train_users,
        },
        "versions": {"piavae-jax": library_version()} | {name: importlib.metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "origin": None if origin is None else origin._asdict(),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }
    with new_folder(path, overwrite=False, marker=_INFO) as staging:
        (staging / _INFO).write_text(json.dumps(info, indent=2) + "\n")
        (staging / _CONFIG).write_text(json.dumps(configs.to_dict(config), indent=2) + "\n")
        vocabulary.write_parquet(staging / _VOCABULARY)
    return load(path)


def exists(path: Path) -> bool:
    """Whether the folder holds a run."""
    return (path / _INFO).is_file()


def load(path: Path) -> RunFolder:
    """Read a run folder.

    Raises:
      UserError: it is missing, damaged or of another format version.
    """
    if not exists(path):
        raise UserError(f"{path} is not a run folder: it has no {_INFO}; pass a folder that bin/train.py wrote")
    with _damage_reported(path):
        info = json.loads((path / _INFO).read_text())
        version = info["format_version"]
    if version != FORMAT_VERSION:
        raise UserError(f"{path} has format version {version}, this library reads {FORMAT_VERSION}; train it again")
    with _damage_reported(path):
        data = info["data"]
        name, digest, num_train_users = data["name"], data["digest"], int(data["train_users"])
        origin = None if info.get("origin") is None else Origin(**info["origin"])
        values = json.loads((path / _CONFIG).read_text(encoding="utf-8"))
        vocabulary = pl.read_parquet(path / _VOCABULARY, glob=False)
    try:
        config = configs.from_dict(values)
    except UserError as error:
        raise UserError(f"{path / _CONFIG}: {error}") from error
    return RunFolder(path, config, vocabulary, name, digest, num_train_users, origin)


def read_environment(run: RunFolder) -> dict[str, Any]:
    """What a run was begun with: `versions` by package, `python` and `device`."""
    with _damage_reported(run.path):
        info = json.loads((run.path / _INFO).read_text())
        return {name: info[name] for name in ("versions", "python", "device")}


@contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path} is damaged ({error}); restore it from a copy or train again") from error


def check_resumable(run: RunFolder, config: ExperimentConfig, dataset: PreparedDataset) -> None:
    """Refuse to go on with a run under another config or on other data.

    Raises:
      UserError: names the first field that differs, or the data set.
    """
    for name, ours, theirs in _differences(configs.to_dict(config), configs.to_dict(run.config)):
        raise UserError(
            f"{run.path} was trained with config.{name}={theirs!r}, now it is {ours!r}; "
            "choose another --config.workdir, or give the same config to resume"
        )
    if run.data_digest != data_digest(dataset):
        raise UserError(
            f"{run.path} was trained on other data ({run.data_name}) than {config.data.path}; "
            "choose another --config.workdir"
        )


def is_resumable(run: RunFolder, config: ExperimentConfig, dataset: PreparedDataset) -> bool:
    """Whether `check_resumable` would let the run go on."""
    same = next(iter(_differences(configs.to_dict(config), configs.to_dict(run.config))), None) is None
    return same and run.data_digest == data_digest(dataset)


FREE_FIELDS = (
    "name",
    "workdir",
    "data.path",
    "training.epochs",
    *(field for field in OF_THE_MACHINE if field != "training.steps_per_dispatch"),
)
"""These may change between two sessions of one run without changing what was trained so far."""


def _differences(ours: Any, theirs: Any, prefix: str = "") -> Iterable[tuple[str, Any, Any]]:
    if not isinstance(ours, dict):
        if prefix not in FREE_FIELDS and ours != theirs:
            yield prefix, ours, theirs
        return
    for name in ours:
        yield from _differences(ours[name], theirs[name], f"{prefix}.{name}" if prefix else name)


def update_config(run: RunFolder, config: ExperimentConfig) -> RunFolder:
    """Write the config of a session that goes on with a run."""
    write_json(run.path / _CONFIG, configs.to_dict(config))
    return run._replace(config=config)


@contextmanager
def locked(path: Path, *, used: str = "trained") -> Iterator[None]:
    """Keep other processes from writing into a folder, such as that of a run; a process that dies lets go.

    Args:
      path: the folder.
      used: what is done to it, for the message.

    Raises:
      UserError: another process does it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    refusal = f"{path} is being {used} by another process; wait for it or choose another folder"
    with exclusive(path.parent / f".{path.name}.lock", refusal=refusal):
        yield


def append_metrics(run: RunFolder, record: dict[str, Any]) -> None:
    """Add one epoch's line to `metrics.jsonl`, on disk when this returns."""
    with run.metrics_file.open("a") as file:
        file.write(json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_metrics(run: RunFolder) -> list[dict[str, Any]]:
    """The records of all epochs so far; a line that a crash cut short is left out."""
    if not run.metrics_file.exists():
        return []
    records = []
    for line in run.metrics_file.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def keep_metrics_until(run: RunFolder, epoch: int) -> list[dict[str, Any]]:
    """Drop the records after an epoch, which a resumed run will write anew, and return the rest."""
    records = [record for record in read_metrics(run) if record["epoch"] <= epoch]
    replacement = run.path / f".{_METRICS}"
    with replacement.open("w") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
        file.flush()
        os.fsync(file.fileno())
    replacement.replace(run.metrics_file)
    return records
