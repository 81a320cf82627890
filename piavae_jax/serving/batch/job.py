"""What a batch job is: its manifest, its parts, what is done of it, which process does what."""

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import polars as pl

from piavae_jax.data.locks import exclusive
from piavae_jax.data.prepared import sha256
from piavae_jax.errors import UserError

FORMAT_VERSION = 1
MANIFEST, SUCCESS = "_manifest.json", "_SUCCESS"
MAX_PARTS = 2**16
_SHARD, _LOCK = "shard-", "lock"


class Log(NamedTuple):
    """Everyone's interactions."""

    events: pl.LazyFrame
    """Columns `user` and `item`, a row for each interaction, in any order."""
    rows: int


class Shard(NamedTuple):
    """The share of one process: the parts whose number is `number` modulo `total`."""

    number: int = 0
    total: int = 1

    def owns(self, parts: int) -> np.ndarray:
        """bool[parts]."""
        return np.arange(parts) % self.total == self.number

    @property
    def name(self) -> str:
        """Such as `shard-0-of-4`."""
        return f"{_SHARD}{self.number}-of-{self.total}"


def parse_shard(text: str) -> Shard:
    """Read `i/n`, with i from 0 to n - 1.

    Raises:
      UserError: it is something else.
    """
    number, _, total = text.partition("/")
    if not (number.isdecimal() and total.isdecimal() and int(number) < int(total)):
        raise UserError(f"--shard must be i/n with i from 0 to n - 1, got {text!r}: pass 0/4, 1/4, 2/4 and 3/4 to four")
    return Shard(int(number), int(total))


class Job(NamedTuple):
    """A batch job: the same for all its processes and for all the times that it is started."""

    output: Path
    parts: int

    def part_file(self, part: int) -> Path:
        """Where the recommendations of a part lie once they are whole."""
        return self.output / f"part-{part:05}.parquet"

    def done(self) -> np.ndarray:
        """bool[parts], which parts are there."""
        return np.array([self.part_file(part).is_file() for part in range(self.parts)])


def params_digest(params: Any) -> str:
    """SHA-256 (hex) of the parameters' names and values."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(params):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def input_digest(files: list[Path]) -> str:
    """SHA-256 (hex) of the files' contents, in order; their names and places may change."""
    return hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()


def open_job(output: Path, settings: dict[str, Any], *, parts: int) -> Job:
    """Start a job in a new or empty folder, or go on with the same one.

    Args:
      output: its folder.
      settings: what its results depend on, JSON values.
      parts: into how many parts users are divided.

    Raises:
      UserError: the folder holds something else, or a job with other settings.
    """
    wanted = {"format_version": FORMAT_VERSION, **settings, "parts": parts, "polars": pl.__version__}
    output.mkdir(parents=True, exist_ok=True)
    manifest = output / MANIFEST
    if not manifest.exists():
        if any(path.name != MANIFEST and not path.name.startswith(".") for path in output.iterdir()):
            raise UserError(f"{output} holds other files than a job's; choose another --output, or empty it")
        _write_once(manifest, wanted)
    _check_same(manifest, wanted)
    return Job(output, parts)


def _write_once(manifest: Path, values: dict[str, Any]) -> None:
    """Of several processes that start a job together, one writes the manifest, whole."""
    staged = manifest.with_name(f".{manifest.name}.{uuid.uuid4().hex}")
    try:
        staged.write_text(json.dumps(values, indent=2) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(staged, manifest)
    finally:
        staged.unlink(missing_ok=True)


def _check_same(manifest: Path, wanted: dict[str, Any]) -> None:
    try:
        found = dict(json.loads(manifest.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{manifest} cannot be read ({error}); choose another --output") from error
    for name, value in wanted.items():
        if found.get(name) != value:
            raise UserError(
                f"{manifest.parent} holds a job with another {_NAMES.get(name, name)} ({_short(found.get(name))}, now "
                f"{_short(value)}); choose another --output, or repeat that job's command to go on with it"
            )


_NAMES = {"input": "input", "model": "model", "k": "k", "polars": "version of polars"}


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) > 40 else text


def finish_job(job: Job, totals: dict[str, int]) -> None:
    """Mark a job whose parts are all there; more than one process may, at the same time."""
    staged = job.output / f".{SUCCESS}.{uuid.uuid4().hex}"
    staged.write_text(json.dumps(totals, indent=2) + "\n")
    staged.replace(job.output / SUCCESS)
    for abandoned in [*job.output.glob(f".{MANIFEST}.*"), *job.output.glob(f".{SUCCESS}.*")]:
        abandoned.unlink(missing_ok=True)
    for folder in job.output.glob(f".{_SHARD}*"):  # of starts with another number of shards
        gone_or_used = contextlib.suppress(FileNotFoundError, UserError)
        with gone_or_used, exclusive(folder / _LOCK, refusal="it is worked on"):
            _clear(folder)


@contextlib.contextmanager
def workspace(job: Job, shard: Shard) -> Iterator[Path]:
    """A hidden folder of one shard's own, removed, or kept for the next start where the block ends with an error.

    Raises:
      UserError: another process works on the same shard.
    """
    folder = job.output / f".{shard.name}"
    folder.mkdir(exist_ok=True)
    refusal = f"another process works on {shard.name} of {job.output}; wait for it, or give each its own --shard"
    with exclusive(folder / _LOCK, refusal=refusal):
        yield folder
        _clear(folder)


def _clear(folder: Path) -> None:
    """Remove a locked folder with all that lies in it."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()
    shutil.rmtree(folder, ignore_errors=True)  # on NFS a lock that is open stays until it is closed
