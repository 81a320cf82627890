"""Downloads against a server on this machine: resumed, verified, repeated, and refused in plain words."""

import hashlib
import io
import re
import threading
import zipfile
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from piavae_jax.data import download
from piavae_jax.data.download import REMOTES, Remote, download_dataset
from piavae_jax.errors import UserError


def make_zip(seed: int = 0) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("ml/ratings.csv", b"".join(b"%d,%d\n" % (seed, row) for row in range(40_000)))
    return stream.getvalue()


CONTENT = make_zip()
MD5 = hashlib.md5(CONTENT).hexdigest()


@dataclass
class Script:
    """What the server does, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=lambda: {"/ml.zip": CONTENT})
    drop_after: list[int] = field(default_factory=list)
    """Bytes of the body after which to break the connection, one for each of the first answers."""
    statuses: list[int] = field(default_factory=list)
    """Statuses of the first answers."""
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range of each request."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        script: Script = self.server.script
        script.requests.append((self.path, self.headers["Range"]))
        if script.statuses:
            self._answer(script.statuses.pop(0), b"")
        elif self.path not in script.files:
            self._answer(404, b"")
        else:
            self._file(script, script.files[self.path])

    def _file(self, script, content):
        start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1]) if self.headers["Range"] else 0
        if not (start and script.ranges):
            self._answer(200, content)
        elif start >= len(content):
            self._answer(416, b"")
        else:
            self._answer(206, content[start:])

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body and self.server.script.drop_after:
            body = body[: self.server.script.drop_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.script = Script()
    url = f"http://127.0.0.1:{server.server_port}/ml.zip"
    monkeypatch.setitem(REMOTES, "pinned", Remote(url, "research use", md5=MD5))
    monkeypatch.setitem(REMOTES, "moving", Remote(url, "research use", md5_url=f"{url}.md5"))
    monkeypatch.setitem(REMOTES, "unstated", Remote(url, "research use"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.script
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_fetches_once(script, tmp_path, capsys):
    path = download_dataset("pinned", tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "ml.zip"
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["ml.zip"]
    assert "research use" in capsys.readouterr().err
    assert download_dataset("pinned", path.parent) == path
    assert script.requests == [("/ml.zip", None)]


def test_replaces_a_damaged_file(script, tmp_path):
    (tmp_path / "ml.zip").write_bytes(CONTENT[:1000])
    assert download_dataset("pinned", tmp_path).read_bytes() == CONTENT
    (tmp_path / "ml.zip").write_bytes(CONTENT[:1000])
    assert download_dataset("unstated", tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [1, 100_000, len(CONTENT)])
def test_resumes_a_part(script, tmp_path, size):
    (tmp_path / "ml.zip.part").write_bytes(CONTENT[:size])
    assert download_dataset("pinned", tmp_path).read_bytes() == CONTENT
    assert script.requests == [("/ml.zip", f"bytes={size}-")]
    assert names(tmp_path) == ["ml.zip"]


def test_starts_over_where_ranges_are_not_served(script, tmp_path):
    script.ranges = False
    (tmp_path / "ml.zip.part").write_bytes(b"x" * 100_000)
    assert download_dataset("pinned", tmp_path).read_bytes() == CONTENT
    assert len(script.requests) == 1


def test_starts_over_after_a_part_of_another_edition(script, tmp_path):
    (tmp_path / "ml.zip.part").write_bytes(make_zip(1)[:100_000])
    assert download_dataset("pinned", tmp_path).read_bytes() == CONTENT
    assert script.requests == [("/ml.zip", "bytes=100000-"), ("/ml.zip", None)]


def test_resumes_after_broken_connections(script, tmp_path):
    script.drop_after = [150_000, 100_000, 70_000]
    assert download_dataset("pinned", tmp_path).read_bytes() == CONTENT
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for _, asked in script.requests[1:]]
    assert len(starts) == 3
    assert 0 < starts[0] < starts[1] < starts[2] < len(CONTENT)


def test_gives_up_when_nothing_comes_and_keeps_the_part(script, tmp_path):
    script.drop_after = [150_000, *[0] * 50]
    with pytest.raises(UserError, match=r"cannot be downloaded \(the connection broke\): .* by hand and put it at"):
        download_dataset("pinned", tmp_path)
    assert names(tmp_path) == ["ml.zip.part"]
    kept = (tmp_path / "ml.zip.part").read_bytes()
    assert kept
    assert CONTENT.startswith(kept)
    script.drop_after = []
    assert download_dataset("pinned", tmp_path).read_bytes() == CONTENT


def test_repeats_after_a_busy_server(script, tmp_path):
    script.statuses = [503, 429]
    assert download_dataset("pinned", tmp_path).read_bytes() == CONTENT
    assert len(script.requests) == 3


@pytest.mark.parametrize(("status", "reason"), [(404, "HTTP status 404"), (503, "the server keeps failing")])
def test_refusing_server(script, tmp_path, status, reason):
    script.statuses = [status] * 20
    with pytest.raises(UserError, match=rf"cannot be downloaded \({reason}\): try again later, or fetch http://127"):
        download_dataset("pinned", tmp_path)
    assert names(tmp_path) == []


def test_wrong_checksum_leaves_nothing(script, tmp_path):
    script.files["/ml.zip"] = make_zip(1)
    with pytest.raises(UserError, match=f"did not give the MD5 {MD5}"):
        download_dataset("pinned", tmp_path)
    assert names(tmp_path) == []


def test_damaged_zip_without_checksum_leaves_nothing(script, tmp_path):
    script.files["/ml.zip"] = CONTENT.replace(b"0,39999", b"0,38888")
    with pytest.raises(UserError, match="did not give an intact zip"):
        download_dataset("unstated", tmp_path)
    script.files["/ml.zip"] = b"<html>moved</html>"
    with pytest.raises(UserError, match="did not give an intact zip"):
        download_dataset("unstated", tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "statement", [f"MD5 (ml.zip) = {MD5}\n", f"{MD5.upper()}  ml.zip\n"], ids=["BSD", "upper case"]
)
def test_checksum_of_the_publisher(script, tmp_path, statement):
    script.files["/ml.zip.md5"] = statement.encode()
    assert download_dataset("moving", tmp_path).read_bytes() == CONTENT
    assert download_dataset("moving", tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in script.requests] == ["/ml.zip.md5", "/ml.zip"]


def test_other_checksum_of_the_publisher(script, tmp_path):
    script.files["/ml.zip.md5"] = b"0" * 32
    with pytest.raises(UserError, match=f"did not give the MD5 {'0' * 32}"):
        download_dataset("moving", tmp_path)
    script.files["/ml.zip.md5"] = b"<html>moved</html>"
    with pytest.raises(UserError, match=r"ml\.zip\.md5 must state an MD5, found '<html>"):
        download_dataset("moving", tmp_path)


def test_session_of_the_caller_is_used_and_stays_open(script, tmp_path):
    class Counting(requests.Session):
        closed = False
        gets = 0

        def get(self, *args, **kwargs):
            self.gets += 1
            return super().get(*args, **kwargs)

        def close(self):
            self.closed = True
            super().close()

    session = Counting()
    download_dataset("pinned", tmp_path, session=session)
    assert (session.gets, session.closed) == (1, False)
    session.close()


def test_no_network(script, tmp_path, monkeypatch):
    remote = replace(REMOTES["pinned"], url="http://127.0.0.1:9/ml.zip")
    monkeypatch.setitem(REMOTES, "pinned", remote)
    expected = (
        rf"{remote.url} cannot be downloaded \(no connection\): .* fetch {remote.url} by hand and put it at .*ml\.zip"
    )
    with pytest.raises(UserError, match=expected):
        download_dataset("pinned", tmp_path)


def test_folder_that_cannot_be_made(script, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"ml\.zip cannot be written \(.+\): free space or choose another folder"):
        download_dataset("pinned", tmp_path / "file")


def test_names():
    assert {"ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m", "ml-latest-small", "msd"} <= set(REMOTES)
    assert len({remote.url for remote in REMOTES.values()}) == len(REMOTES)
    for remote in REMOTES.values():
        assert remote.filename.endswith(".zip")
        assert remote.md5 is None or re.fullmatch("[0-9a-f]{32}", remote.md5)
    with pytest.raises(UserError, match="no data set 'ml-2m' to download: choose among ml-100k, ml-1m"):
        download_dataset("ml-2m", ".")
    with pytest.raises(UserError, match=r"no longer distributed by Netflix.* put a copy that you hold"):
        download_dataset("netflix", ".")
