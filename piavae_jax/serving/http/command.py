"""A server process: its socket, its signals, its end."""

import asyncio
import contextlib
import signal
import socket
from pathlib import Path

import uvicorn
from rich.console import Console

from piavae_jax.errors import UserError
from piavae_jax.serving.http.app import make_app
from piavae_jax.serving.http.engine import Engine
from piavae_jax.serving.http.limits import Limits

_LOCAL = ["127.0.0.1", "localhost"]
_GRACE_SECONDS = 30


def serve(run: Path, *, host: str, port: int, limits: Limits, console: Console) -> None:
    """Serve a run until SIGTERM or SIGINT, then return; SIGHUP reads the path again, and a changed link takes effect.

    Raises:
      UserError: the run cannot be loaded, or the address cannot be had.
    """
    with _bound(host, port) as bound:
        asyncio.run(_serve(run, bound, limits, console))


def _bound(host: str, port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off (40 ms an answer) only where the protocol is named.
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise UserError(f"--host and --port must be free, got {host} and {port} ({error}): pass others") from error
    return bound


async def _serve(run: Path, bound: socket.socket, limits: Limits, console: Console) -> None:
    host, port = bound.getsockname()[:2]
    app = make_app(lambda: Engine.load(run, limits), limits, hosts=_LOCAL if host == "127.0.0.1" else None)
    server = app.state.server

    async def reload() -> None:
        if await server.reload():
            console.print(
                f"now serves {server.batcher.engine.name}, loaded again from {run}", highlight=False, markup=False
            )
        else:
            console.print(f"reload failed, the old run is kept: {server.last_error}", style="red", markup=False)

    tasks: set[asyncio.Task[None]] = set()

    def hang_up() -> None:
        task = asyncio.create_task(reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    if hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)
    with console.status("loading the run and compiling"):
        await server.start()  # a SIGHUP that comes now waits for it
    engine = server.batcher.engine
    console.print(f"{engine.name}: {engine.num_items:,} items at http://{host}:{port}", highlight=False, markup=False)
    console.print("SIGHUP loads the run again, SIGTERM or Ctrl-C ends the server", highlight=False)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=_GRACE_SECONDS
    )
    # Uvicorn raises the signals that it was stopped by once more: a clean stop must not look like a crash.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        await uvicorn.Server(config).serve(sockets=[bound])
