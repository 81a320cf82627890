"""`bin/serve.py` as a process: a port in use is one line, SIGTERM answers what has begun."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

SERVE = Path(__file__).parents[3] / "bin" / "serve.py"


def test_a_port_in_use_is_one_sentence(pia_run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, str(SERVE), "--run", str(pia_run), "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert port in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_sigterm_answers_a_request_that_has_begun(pia_run, tmp_path):
    output = tmp_path / "log"
    with output.open("wb") as log:
        command = [sys.executable, str(SERVE), "--run", str(pia_run), "--port", "0"]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while not (address := re.search(r"http://127\.0\.0\.1:(\d+)", output.read_text())):
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        body = json.dumps({"histories": [["i1"]], "k": 3}).encode()
        lines = "POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        head = f"{lines}content-length: {len(body)}\r\n\r\n".encode()
        with connect(int(address[1]), deadline) as client:
            client.sendall(head + body[:5])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            client.sendall(body[5:])
            answer = client.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"recommendations"' in answer
        process.wait(timeout=30)
        assert process.returncode in (0, -signal.SIGTERM)
        assert "Traceback" not in output.read_text()
    finally:
        process.kill()
        process.wait()


def connect(port, deadline):
    """A connection, as soon as the server listens."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=30)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
