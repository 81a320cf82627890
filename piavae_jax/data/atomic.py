"""Folders that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from piavae_jax.errors import UserError


@contextmanager
def new_folder(folder: Path, *, overwrite: bool, marker: str) -> Iterator[Path]:
    """Yield an empty folder to fill, which becomes `folder` if the block ends well and vanishes if it does not.

    Args:
      folder: the final path; its parents are made.
      overwrite: whether an existing `folder` may be replaced.
      marker: a file that an existing folder must hold to be replaced, so that no other folder is ever deleted.

    Raises:
      UserError: if `folder` exists and may not be replaced, or the disk refuses.
    """
    check_replaceable(folder, overwrite=overwrite, marker=marker)
    try:
        with _staged(folder) as staging:
            yield staging
            _flush(staging)
            _swap(staging, folder)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder} cannot be written ({reason}): free space or choose another folder") from error


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        staging.chmod(0o755)  # mkdtemp makes it private
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


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


def _flush(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _swap(staging: Path, folder: Path) -> None:
    if not folder.exists():
        staging.rename(folder)
        return
    retired = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    folder.rename(retired / folder.name)
    try:
        staging.rename(folder)
    except OSError:
        (retired / folder.name).rename(folder)
        raise
    finally:
        shutil.rmtree(retired, ignore_errors=True)
