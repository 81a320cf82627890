"""Where a study lives: a journal of lines that any number of processes append to, and that survives their deaths."""

import os
from pathlib import Path

import filelock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from piavae_jax.errors import UserError


class _Lock(JournalFileOpenLock):
    """The right to append: a process that dies lets go of it, where Optuna's own locks wait and then guess."""

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._journal = journal
        self._flock = filelock.FileLock(journal.with_name(f".{journal.name}.lock"))

    def acquire(self) -> bool:
        """Wait for the right, and remove what the last process to have it may have left half written."""
        self._flock.acquire()
        _drop_torn_line(self._journal)
        return True

    def release(self) -> None:
        """Let go."""
        self._flock.release()


def _drop_torn_line(journal: Path) -> None:
    with journal.open("rb+") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
        if file.read(1) not in (b"\n", b""):
            file.truncate(journal.read_bytes().rfind(b"\n") + 1)


def open_journal(path: Path) -> JournalStorage:
    """A storage for Optuna in one file, made if it is not there.

    Raises:
      UserError: the file holds something else.
    """
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=_Lock(path)))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); restore a copy, or choose another --root") from error
