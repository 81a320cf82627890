"""The folder of a benchmark: which data it is about, and by which commands, when and where it was run."""

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from piavae_jax.data.atomic import is_taken
from piavae_jax.data.json_files import read_json, write_json
from piavae_jax.data.manifest import library_version
from piavae_jax.data.prepared import PreparedDataset
from piavae_jax.errors import UserError
from piavae_jax.training.run_folder import data_digest

INFO = "benchmark.json"
FORMAT_VERSION = 1
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")


def open_folder(root: Path, dataset: PreparedDataset, *, command: str) -> None:
    """Begin a benchmark in a new folder, or go on with one on the same data; the session is written down.

    Raises:
      UserError: the folder holds something else, or a benchmark on other data.
    """
    info = check_folder(root, dataset)
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / INFO, info | {"sessions": [*info["sessions"], describe_session(command)]})


def check_folder(root: Path, dataset: PreparedDataset) -> dict[str, Any]:
    """What is known of the benchmark in a folder, or of the one that would begin there; nothing is written.

    Raises:
      UserError: the folder holds something else, or a benchmark on other data.
    """
    return _resume(root, dataset) if (root / INFO).is_file() else _begin(root, dataset)


def _begin(root: Path, dataset: PreparedDataset) -> dict[str, Any]:
    if is_taken(root):
        raise UserError(f"{root} exists and holds no benchmark: choose another --out, or empty it")
    return {"format_version": FORMAT_VERSION, "data": _describe_data(dataset), "sessions": []}


def _resume(root: Path, dataset: PreparedDataset) -> dict[str, Any]:
    info, digest = read_info(root), data_digest(dataset)
    begun_on = info["data"]
    if begun_on["digest"] != digest:
        raise UserError(
            f"{root} was begun on other data ({begun_on['name']}, digest {begun_on['digest'][:12]}) than "
            f"{dataset.path} (digest {digest[:12]}): choose another --out, or pass that data set"
        )
    return info


def read_info(root: Path) -> dict[str, Any]:
    """What a benchmark is about: `format_version`, `data` and `sessions`.

    Raises:
      UserError: the folder holds no benchmark, or one of another format version.
    """
    if not (root / INFO).is_file():
        raise UserError(f"{root} holds no benchmark: it has no {INFO}; pass a folder that bin/benchmark.py wrote")
    info = read_json(root / INFO)
    if info.get("format_version") != FORMAT_VERSION or not {"data", "sessions"} <= info.keys():
        raise UserError(
            f"{root / INFO} must have format version {FORMAT_VERSION}, got {info.get('format_version')!r}: "
            "run the benchmark again in another folder"
        )
    return info


def _describe_data(dataset: PreparedDataset) -> dict[str, Any]:
    counts = dataset.manifest.counts
    return {
        "name": dataset.name,
        "digest": data_digest(dataset),
        "items": counts.items,
        "train_users": counts.train_users,
        "train_interactions": counts.train_interactions,
        "validation_users": counts.validation.users,
        "test_users": counts.test.users,
    }


def describe_session(command: str) -> dict[str, Any]:
    """When, by which command, with which versions and on what machine something is made: JSON values."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "versions": {"piavae-jax": library_version()} | {name: importlib.metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        },
    }
