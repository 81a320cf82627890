"""How fast `bin/serve.py` answers: latency and throughput at 1, 16 and 64 connections, then a reload under load.

    python bench/serve.py --run runs/ml1m --seconds 20   # without --run: random weights on generated data

The server is a process of its own; this one loads it over keep-alive connections, each of which asks for one user's
top-k and asks again when it has the answer. Histories are random items, 50 of them. An error is a status that is not
200; a request is lost when its connection ends without an answer. Both processes share the machine's cores.
"""

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import harness
import numpy as np
from score import MEAN_HISTORY, make_run

from piavae_jax.errors import UserError
from piavae_jax.training import run_folder

_START_SECONDS = 300.0
_BODIES = 256


@dataclass
class Load:
    """What the connections of one level saw."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0
    lost: int = 0

    def figures(self, elapsed: float) -> dict[str, float]:
        """Latency in ms, answers per second and counts.

        Raises:
          UserError: no request was answered.
        """
        if not self.seconds:
            raise UserError(f"the server must answer, got {self.errors} errors and {self.lost} lost requests")
        p50, p99 = 1e3 * np.quantile(self.seconds, (0.5, 0.99))
        return {
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "requests_per_s": len(self.seconds) / elapsed,
            "errors": self.errors,
            "lost": self.lost,
        }


@contextmanager
def serving(run: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The server's process and its port; the process ends with the block.

    Raises:
      UserError: the server does not start.
    """
    command = [sys.executable, str(harness.ROOT / "bin" / "serve.py"), "--run", str(run), "--port", "0"]
    output = folder / "server.log"
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while (address := re.search(r"http://127\.0\.0\.1:(\d+)", output.read_text())) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"the server must start, got: {output.read_text().strip()}")
            time.sleep(0.1)
        yield process, int(address[1])
    finally:
        process.terminate()
        process.wait()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bytes]:
    """Send a request and read its answer: status and body."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return int(head[9:12]), await reader.readexactly(int(length[1]) if length else 0)


def encode(method: str, path: str, body: bytes = b"") -> bytes:
    """A request of HTTP/1.1."""
    lines = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{lines}content-length: {len(body)}\r\n\r\n".encode() + body


async def health(port: int) -> dict[str, Any]:
    """What the server says of itself, asked again until it listens."""
    for _ in range(100):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            await asyncio.sleep(0.1)
            continue
        _, body = await exchange(reader, writer, encode("GET", "/health"))
        writer.close()
        found: dict[str, Any] = json.loads(body)
        return found
    raise UserError(f"the server must listen at port {port}, and does not")


async def connection(port: int, requests: list[bytes], start: int, stop: asyncio.Event, load: Load) -> None:
    """Ask over one connection until `stop`; one that breaks is opened again."""
    number = start
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while not stop.is_set():
                number += 1
                began = time.perf_counter()
                status, _ = await exchange(reader, writer, requests[number % len(requests)])
                if status == 200:
                    load.seconds.append(time.perf_counter() - began)
                else:
                    load.errors += 1
            writer.close()
        except (OSError, EOFError):
            load.lost += 1
            await asyncio.sleep(0.05)


async def measure(port: int, requests: list[bytes], connections: int, until: Any) -> dict[str, float]:
    """The figures of `connections` that ask until the awaitable `until` is done."""
    load, stop = Load(), asyncio.Event()
    began = time.perf_counter()
    tasks = [asyncio.create_task(connection(port, requests, 7 * n, stop, load)) for n in range(connections)]
    try:
        await until
    finally:
        stop.set()
        await asyncio.gather(*tasks)
    return load.figures(time.perf_counter() - began)


async def reload(process: subprocess.Popen[bytes], port: int) -> None:
    """Send SIGHUP and wait until the server has loaded the run again.

    Raises:
      UserError: it keeps the old run.
    """
    before = await health(port)
    process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + _START_SECONDS
    while (now := await health(port))["loaded"] == before["loaded"]:
        if now["last_reload_error"] or time.monotonic() > deadline:
            raise UserError(f"the server must reload, got: {now['last_reload_error']}")
        await asyncio.sleep(0.2)
    await asyncio.sleep(0.5)  # the new run answers too


async def benchmark(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure and return the figures: one entry a level, and one for the reload."""
    run = arguments.run or make_run(folder, arguments.items)
    items = run_folder.load(run).vocabulary["item_id"].to_numpy()
    draw = np.random.default_rng(0)
    histories = [draw.choice(items, min(MEAN_HISTORY, len(items) // 2), replace=False).tolist() for _ in range(_BODIES)]
    bodies = [json.dumps({"histories": [history], "k": arguments.k}).encode() for history in histories]
    requests = [encode("POST", "/recommend", body) for body in bodies]
    with serving(run, folder) as (process, port):
        await health(port)
        await measure(port, requests, 16, asyncio.sleep(min(1.0, arguments.seconds)))
        levels = {
            str(count): await measure(port, requests, count, asyncio.sleep(arguments.seconds))
            for count in arguments.connections
        }
        during = await measure(port, requests, 16, reload(process, port))
    return {"connections": levels, "reload": during, "items": len(items), "k": arguments.k}


def main() -> None:
    """Parse the flags, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run folder (default: random weights on generated data)")
    parser.add_argument("--items", type=int, default=4_000, help="items of the generated data")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each level")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-serve-") as folder:
        result = asyncio.run(benchmark(arguments, Path(folder)))
    levels = {**result["connections"], "16, reload": result["reload"]}
    columns = ("connections", "p50 ms", "p99 ms", "requests/s", "errors", "lost")
    rows = [(name, *figures.values()) for name, figures in levels.items()]
    harness.table(f"POST /recommend, one user, {result['items']:,} items, top-{arguments.k}", columns, rows)
    run = str(arguments.run) if arguments.run else None
    harness.finish("serve", vars(arguments) | {"run": run}, result)


if __name__ == "__main__":
    main()
