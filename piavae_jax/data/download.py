"""Downloads of the data sets whose publishers allow it: resumed, verified, and whole or not there."""

import hashlib
import os
import re
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import requests
from requests.adapters import HTTPAdapter
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from urllib3.util import Retry

from piavae_jax.errors import UserError

RETRIES = 3
BACKOFF_SECONDS = 1.0
TIMEOUT_SECONDS = (10.0, 60.0)
"""To connect, and between two pieces of the content."""
_PIECE_BYTES = 1 << 16  # a broken connection loses the piece that it was sending
_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_GROUPLENS_TERMS = (
    "GroupLens: research use, no redistribution, no commercial use without permission; cite Harper and Konstan (2015)"
)


@dataclass(frozen=True)
class Remote:
    """A zip at its publisher."""

    url: str
    terms: str
    """What the publisher asks of users, in a line."""
    md5: str | None = None
    """Hexadecimal, for an edition that never changes."""
    md5_url: str | None = None
    """Where the publisher states it, for an edition that does."""

    @property
    def filename(self) -> str:
        """The last part of the URL."""
        return self.url.rsplit("/", 1)[-1]


def _movielens(name: str, md5: str | None) -> Remote:
    url = f"{_GROUPLENS}/{name}.zip"
    return Remote(url, _GROUPLENS_TERMS, md5=md5, md5_url=None if md5 else f"{url}.md5")


REMOTES = {
    "ml-100k": _movielens("ml-100k", "0e33842e24a9c977be4e0107933c0723"),
    "ml-1m": _movielens("ml-1m", "c4d9eecfca2ab87c1945afe126590906"),
    "ml-10m": _movielens("ml-10m", "ce571fd55effeba0271552578f2648bd"),
    "ml-20m": _movielens("ml-20m", "cd245b17a1ae2cc31bb14903e1204af3"),
    "ml-25m": _movielens("ml-25m", "6b51fb2759a8657d3bfcbfc42b592ada"),
    "ml-32m": _movielens("ml-32m", "d472be332d4daa821edc399621853b57"),
    "ml-latest-small": _movielens("ml-latest-small", None),
    "msd": Remote(
        "http://millionsongdataset.com/sites/default/files/challenge/train_triplets.txt.zip",
        "The Echo Nest taste profile: research only, no commercial use; cite McFee et al. (2012)",
    ),
}
"""Data sets by name."""


def download_dataset(name: str, folder: str | Path, *, session: requests.Session | None = None) -> Path:
    """Fetch a data set, unless it is there and sound already.

    The content goes to `FILE.part`, from which a later call resumes, and becomes `FILE` once it is verified: by its
    MD5 where the publisher states one, and by the CRC-32 of each zip member otherwise.

    Args:
      name: a key of `REMOTES`.
      folder: where to put the zip; it is made if needed.
      session: for proxies, certificates and retries of one's own; None takes one with retries.

    Returns:
      The path of the zip, which the readers take as it is.

    Raises:
      UserError: for an unknown or undistributed data set, without network, or when the content fails verification.
    """
    remote = _remote(name)
    path = Path(folder) / remote.filename
    if path.exists() and _is_sound(path, remote.md5):
        return path
    console = Console(stderr=True)
    console.print(f"{name} from {remote.url} ({remote.terms})", markup=False, highlight=False)
    with _explained(remote, path), _given_or_new(session) as http, _progress(console) as progress:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch_verified(http, remote, path, progress)
    return path


def _remote(name: str) -> Remote:
    if name.lower().startswith("netflix"):
        raise UserError(
            "the Netflix Prize data is no longer distributed by Netflix, so it cannot be downloaded: put a copy that "
            "you hold (combined_data_*.txt, training_set or nf_prize_dataset.tar.gz) in a folder and read it from there"
        )
    if name not in REMOTES:
        raise UserError(f"there is no data set {name!r} to download: choose among {', '.join(REMOTES)}")
    return REMOTES[name]


@contextmanager
def _given_or_new(session: requests.Session | None) -> Iterator[requests.Session]:
    if session is not None:
        yield session
        return
    retry = Retry(RETRIES, backoff_factor=BACKOFF_SECONDS, status_forcelist=(429, 500, 502, 503, 504))
    with requests.Session() as new:
        for scheme in ("https://", "http://"):
            new.mount(scheme, HTTPAdapter(max_retries=retry))
        yield new


@contextmanager
def _explained(remote: Remote, path: Path) -> Iterator[None]:
    by_hand = f"fetch {remote.url} by hand and put it at {path}"
    try:
        yield
    except requests.RequestException as error:
        raise UserError(
            f"{remote.url} cannot be downloaded ({_brief(error)}): try again later, or {by_hand}"
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): free space or choose another folder") from error


def _brief(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"HTTP status {error.response.status_code}"
    kinds = {
        requests.exceptions.SSLError: "its certificate is not trusted",
        requests.exceptions.RetryError: "the server keeps failing",
        requests.Timeout: "no answer in time",
        requests.exceptions.ChunkedEncodingError: "the connection broke",
        requests.ConnectionError: "no connection",
    }
    return next((text for kind, text in kinds.items() if isinstance(error, kind)), str(error))


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)


def _fetch_verified(http: requests.Session, remote: Remote, path: Path, progress: Progress) -> None:
    md5 = remote.md5 if remote.md5_url is None else _published_md5(http, remote.md5_url)
    part = path.with_name(f"{path.name}.part")
    resumed = part.exists()
    _fetch(http, remote.url, part, progress)
    sound = _is_sound(part, md5)
    if resumed and not sound:  # it may have begun as the part of another edition
        part.unlink()
        _fetch(http, remote.url, part, progress)
        sound = _is_sound(part, md5)
    if not sound:
        part.unlink()
        expected = f"the MD5 {md5} that its publisher states" if md5 else "an intact zip"
        raise UserError(f"{remote.url} did not give {expected}: try again later, or check the page of the data set")
    part.replace(path)


def _published_md5(http: requests.Session, url: str) -> str:
    response = http.get(url, timeout=TIMEOUT_SECONDS)
    response.raise_for_status()
    digest = re.search(r"\b[0-9a-f]{32}\b", response.text.lower())
    if digest is None:
        raise UserError(f"{url} must state an MD5, found {response.text[:100]!r}: try again later")
    return digest.group()


def _fetch(http: requests.Session, url: str, part: Path, progress: Progress) -> None:
    """Complete `part`, resuming after each broken connection that brought something."""
    task = progress.add_task(part.stem)
    while True:
        before = _size(part)
        try:
            return _append(http, url, part, partial(progress.update, task))
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
            if _size(part) <= before:
                raise
            time.sleep(BACKOFF_SECONDS)


def _append(http: requests.Session, url: str, part: Path, update: Callable[..., None]) -> None:
    have = _size(part)
    # The bytes must be those of the file, for a range of a compressed answer would not be a range of the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with http.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if have and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is left to fetch
        response.raise_for_status()
        have = have if response.status_code == requests.codes.partial_content else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        update(completed=have, total=total)
        _write(response, part, "ab" if have else "wb", update)
    if total is not None and _size(part) < total:  # urllib3 1 takes a short answer for a whole one
        raise requests.ConnectionError(f"{total - _size(part):,} bytes of {url} are missing")


def _write(response: requests.Response, part: Path, mode: Literal["ab", "wb"], update: Callable[..., None]) -> None:
    with part.open(mode) as file:
        for piece in response.iter_content(_PIECE_BYTES):
            file.write(piece)
            update(advance=len(piece))
        file.flush()
        os.fsync(file.fileno())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_sound(path: Path, md5: str | None) -> bool:
    if md5 is not None:
        with path.open("rb") as file:
            return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest() == md5
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        return False
