"""Folders and files that appear whole or not at all."""

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from piavae_jax.errors import FULL_DISK, UserError

_SUFFIX = ".part"
_LOCK, _NEW, _OLD = "lock", "new", "old"  # what a workspace holds


@contextmanager
def new_folder(folder: Path, *, overwrite: bool, marker: str) -> Iterator[Path]:
    """Yield an empty folder to fill, which becomes `folder` if the block ends well and vanishes if it does not.

    It is filled in a hidden workspace beside `folder`. What a process killed with SIGKILL leaves there, the next one
    to write `folder` removes.

    Args:
      folder: the final path; its parents are made.
      overwrite: whether an existing `folder` may be replaced.
      marker: a file that an existing folder must hold to be replaced, so that no other folder is ever deleted.

    Raises:
      UserError: if `folder` exists and may not be replaced, or the disk refuses.
    """
    folder = folder.resolve()  # a link to another disk stays one
    _clear_abandoned(folder)
    check_replaceable(folder, overwrite=overwrite, marker=marker)
    try:
        with _workspace(folder) as workspace:
            staging = workspace / _NEW
            staging.mkdir()
            yield staging
            _flush(staging)
            check_replaceable(folder, overwrite=overwrite, marker=marker)  # another process may have made it by now
            _swap(workspace, folder)
    except (OSError, pl.exceptions.ComputeError) as error:
        raise UserError(
            f"{folder} cannot be written ({_reason(error)}): free space or choose another folder"
        ) from error


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which becomes `path`, replacing what is there, if the block ends well.

    If it does not, `path` keeps what it held and nothing else is left.

    Args:
      path: the final path; its parents are made.

    Raises:
      UserError: if `path` is a folder, or the disk refuses.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=_SUFFIX, dir=path.parent) as staging:
            staged = Path(staging) / path.name
            yield staged
            _flush(Path(staging))
            staged.replace(path)
    except (OSError, pl.exceptions.ComputeError) as error:
        raise UserError(f"{path} cannot be written ({_reason(error)}): free space or choose another place") from error


def check_replaceable(folder: Path, *, overwrite: bool, marker: str) -> None:
    """Refuse, before any work is done, a `folder` that `new_folder` would refuse.

    Raises:
      UserError: if `folder` exists and may not be replaced.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise UserError(f"{folder} exists already: choose another folder or pass --overwrite")
    if not (folder / marker).is_file():
        raise UserError(f"{folder} exists and has no {marker}, so it is not replaced: choose another folder")


def is_taken(path: Path) -> bool:
    """Whether something is there: a file, or a folder with more than hidden files, which a killed process may leave."""
    return path.exists() and (not path.is_dir() or any(not entry.name.startswith(".") for entry in path.iterdir()))


def _reason(error: OSError | pl.exceptions.ComputeError) -> str:
    """Why the disk refuses; polars, which says so in words of its own, fails for other reasons too."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if FULL_DISK not in str(error):
        raise error
    return FULL_DISK


def _flush(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _swap(workspace: Path, folder: Path) -> None:
    if folder.exists():
        folder.rename(workspace / _OLD)
    (workspace / _NEW).rename(folder)


def _remove(workspace: Path, folder: Path) -> None:
    if (workspace / _OLD).exists() and not folder.exists():  # it ended between the two renames
        (workspace / _OLD).rename(folder)
    shutil.rmtree(workspace, ignore_errors=True)


@contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """A hidden folder beside `folder`, locked for as long as this process lives and needs it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        workspace = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=_SUFFIX, dir=folder.parent))
        with (workspace / _LOCK).open("w") as lock:
            with contextlib.suppress(OSError):  # a file system without locks: nobody clears there either
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not (workspace / _LOCK).exists():  # cleared before it was locked
                continue
            try:
                yield workspace
            finally:
                _remove(workspace, folder)
            return


def _clear_abandoned(folder: Path) -> None:
    """Remove the workspaces of dead processes."""
    random = "?" * 8  # as mkdtemp draws: no name of another folder matches
    for workspace in folder.parent.glob(f".{glob.escape(folder.name)}.{random}{_SUFFIX}"):
        with contextlib.suppress(OSError), (workspace / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its process lives
            _remove(workspace, folder)
