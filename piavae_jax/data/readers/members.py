"""One view of a folder, a zip, a tar and a single file: the named byte streams that they hold."""

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from piavae_jax.errors import UserError

_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError)
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")


class Member(NamedTuple):
    """A file inside a folder or an archive."""

    name: str
    """Its name without folders."""
    open: Callable[[], IO[bytes]]
    """A new stream of its bytes; that of a tar must be read before the next member is asked for."""


def existing(path: str | Path) -> Path:
    """Return `path` as an absolute path.

    Raises:
      UserError: if nothing is there.
    """
    if not Path(path).exists():
        raise UserError(f"{path} does not exist: check the path, or download the data set first")
    return Path(path).absolute()


def is_archive(path: Path | str) -> bool:
    """Whether the name is that of a zip or a tar."""
    return str(path).lower().endswith((".zip", *_TAR_SUFFIXES))


@contextmanager
def opened(path: Path) -> Iterator[Iterator[Member]]:
    """Yield the members of a folder, of an archive, or of a file (itself the only one).

    A folder is searched one level deep, so that the folder around an unpacked archive serves as well.

    Raises:
      UserError: if the archive is damaged, also while the block reads from it.
    """
    try:
        if not is_archive(path):
            yield _files(path)
        elif path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                yield _zip_members(archive)
        else:
            _check_tar_length(path)
            with path.open("rb") as stream:
                yield tar_members(stream, path.name)
    except RuntimeError as error:  # what zipfile raises for a password or an unknown compression
        raise UserError(f"{path} cannot be unpacked here ({error}): unpack it by hand and give the folder") from error
    except _DAMAGED as error:
        raise UserError(f"{path} is damaged or incomplete ({error}): delete it and download it again") from error


def tar_members(stream: IO[bytes], name: str) -> Iterator[Member]:
    """Members of a tar, in one pass and without seeking, so that a tar in a tar can be read.

    Args:
      stream: its bytes.
      name: its name; one that ends with "gz" is compressed.
    """
    content = gzip.GzipFile(fileobj=stream) if name.lower().endswith("gz") else stream
    with tarfile.open(fileobj=content, mode="r|") as archive:
        for entry in archive:
            file = archive.extractfile(entry) if _is_data(PurePosixPath(entry.name)) else None
            if file is not None:
                yield Member(PurePosixPath(entry.name).name, _constant(file))
    while content.read(1 << 20):  # gzip keeps its checksum at the very end
        pass


def find(members: Iterable[Member], names: Iterable[str], *, path: Path) -> dict[str, Member]:
    """Pick members by name; absent names are left out.

    Raises:
      UserError: if a name occurs twice.
    """
    wanted, found = set(names), dict[str, Member]()
    for member in members:
        if member.name in found:
            raise UserError(f"{path} holds {member.name} more than once: give the folder of one data set")
        if member.name in wanted:
            found[member.name] = member
    return found


def beside(path: Path, names: Iterable[str]) -> Member | None:
    """The first of `names` that stands next to `path`."""
    neighbours = (path.parent / name for name in names)
    return next((_file(neighbour) for neighbour in neighbours if neighbour.is_file()), None)


def read_text(member: Member) -> str:
    """All text of a small member: UTF-8, or else Latin-1, as in the older data sets."""
    with closing(member.open()) as stream:
        content = stream.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _check_tar_length(path: Path) -> None:
    # tarfile takes a cut inside the header of a member for the end of the archive.
    if path.suffix.lower() == ".tar" and path.stat().st_size % tarfile.BLOCKSIZE:
        raise tarfile.ReadError("its length is not a whole number of blocks")


def _constant(content: IO[bytes]) -> Callable[[], IO[bytes]]:
    return lambda: content


def _files(path: Path) -> Iterator[Member]:
    if path.is_file():
        yield _file(path)
        return
    for entry in sorted(path.iterdir()):
        inner = sorted(entry.iterdir()) if entry.is_dir() else [entry]
        yield from (_file(file) for file in inner if file.is_file() and _is_data(file))


def _file(path: Path) -> Member:
    return Member(path.name, lambda: path.open("rb"))


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for entry in archive.infolist():
        name = PurePosixPath(entry.filename)
        if not entry.is_dir() and _is_data(name):
            yield Member(name.name, partial(archive.open, entry))


def _is_data(path: Path | PurePosixPath) -> bool:
    # macOS adds a companion named "._NAME" to each file that it packs.
    return not path.name.startswith("._")
