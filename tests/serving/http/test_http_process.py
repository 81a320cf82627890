"""`bin/serve.py` as a process: its port, and its signals."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager

import pytest
from random_runs import write_run
from server_process import SERVE, serving
from tiny_runs import tiny_config

pytest.importorskip("fastapi", reason="the extra serve is not installed")

BODY = json.dumps({"histories": [["i1"]], "k": 3}).encode()


def test_a_port_in_use_is_one_sentence(pia_run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, str(SERVE), "--run", str(pia_run), "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert port in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_sigterm_answers_a_request_that_has_begun_then_ends_with_0(pia_run, tmp_path):
    head = "POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with serving(pia_run, tmp_path) as server, server.connect() as client:
        client.sendall(f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY[:5])
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        client.sendall(BODY[5:])
        answer = client.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"recommendations"' in answer
        assert server.process.wait(timeout=30) == 0
        assert "Traceback" not in server.output.read_text()


def test_a_changed_link_is_served_after_sighup_and_every_request_is_answered(dataset, pia_run, tmp_path):
    config = tiny_config()
    config.name = "later"
    later = write_run(tmp_path / "later", config, dataset)
    link = tmp_path / "current"
    link.symlink_to(pia_run)
    with serving(link, tmp_path) as server:
        with asking(server.url) as answers:
            wait_for(lambda: (200, "tiny") in answers)
            (tmp_path / "next").symlink_to(later)
            (tmp_path / "next").rename(link)
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: (200, "later") in answers)
        assert server.end() == 0
        assert "now serves later" in server.output.read_text()
    assert set(answers) == {(200, "tiny"), (200, "later")}


def test_a_sighup_that_comes_while_the_run_is_loaded_waits_for_it(pia_run, tmp_path):
    """A script that changes a link and tells the server must not end one that has just been started."""
    code = (
        "import os, pathlib, signal, sys, time\n"
        "from rich.console import Console\n"
        "from piavae_jax.serving.http import command, limits\n"
        "load, loaded = command.Engine.load, []\n"
        "def slow(run, limits):\n"
        "    if not loaded:\n"
        "        os.kill(os.getpid(), signal.SIGHUP)\n"
        "        time.sleep(0.5)\n"
        "    loaded.append(load(run, limits))\n"
        "    if len(loaded) == 2:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return loaded[-1]\n"
        "command.Engine.load = slow\n"
        "run, own = pathlib.Path(sys.argv[1]), limits.Limits()\n"
        "command.serve(run, host='127.0.0.1', port=0, limits=own, console=Console())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(pia_run)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "items at http://" in done.stdout


@contextmanager
def asking(url):
    """Ask for recommendations again and again, by two threads: (status, run) of each answer; -1 for none."""
    answers, stop = [], threading.Event()
    request = urllib.request.Request(f"{url}/recommend", BODY, {"content-type": "application/json"})

    def ask():
        while not stop.is_set():
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    answers.append((answer.status, json.load(answer)["run"]))
            except OSError as error:  # HTTPError is one
                answers.append((getattr(error, "code", -1), str(error)))
            time.sleep(0.02)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
