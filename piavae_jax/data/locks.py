"""One process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from piavae_jax.errors import UserError


@contextmanager
def exclusive(file: Path, *, refusal: str) -> Iterator[None]:
    """Hold a lock file for the length of a block; a process that dies lets go.

    Args:
      file: the lock; its folder exists.
      refusal: the message where another process holds it.

    Raises:
      UserError: another process holds it.
    """
    lock = filelock.FileLock(file, blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise UserError(refusal) from error
    try:
        yield
    finally:
        lock.release()
