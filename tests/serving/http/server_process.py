"""`bin/serve.py` as a process, at a free port."""

import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

SERVE = Path(__file__).parents[3] / "bin" / "serve.py"
_START_SECONDS = 60


class ServerProcess:
    """A server that has loaded its run."""

    def __init__(self, process, output, port):
        self.process, self.output, self.port = process, output, port
        self.url = f"http://127.0.0.1:{port}"

    def connect(self):
        """A connection of bytes."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def end(self):
        """Send SIGTERM and wait: the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@contextmanager
def serving(run, folder):
    """Serve a run; its output goes to a file in a folder."""
    output = folder / "server.log"
    with output.open("wb") as log:
        command = [sys.executable, str(SERVE), "--run", str(run), "--port", "0"]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield _listening(process, output)
    finally:
        process.kill()
        process.wait()


def _listening(process, output):
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        if address := re.search(r"http://127\.0\.0\.1:(\d+)", output.read_text()):
            server = ServerProcess(process, output, int(address[1]))
            try:
                server.connect().close()
                return server
            except ConnectionRefusedError:  # the address is printed just before the server listens
                pass
        time.sleep(0.05)
