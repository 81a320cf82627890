"""Around every request: its body's limits, its metrics, and headers that keep a browser on this server."""

import asyncio
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from piavae_jax.serving.http.limits import Limits
from piavae_jax.serving.http.metrics import Metrics

_HEADERS = [
    (b"content-security-policy", b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
]


class Guard:
    """Reads the whole body before the app sees the request, and refuses what is too large or too slow."""

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        try:
            await self._guarded(scope, receive, send_noted)
        finally:
            # A route's pattern, never the path: clients must not be able to make metrics grow.
            route = getattr(scope.get("route"), "path", "other").replace(":path", "")
            method = scope["method"] if scope["method"] in ("GET", "POST") else "other"
            self._metrics.requests.labels(route, method, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        limits = self._limits
        try:
            async with asyncio.timeout(limits.body_seconds):
                body = await _read(scope, receive, limits.body_bytes)
        except TimeoutError:
            sentence = f"the body must arrive within {limits.body_seconds:g} seconds: send it faster"
            await _refusal(408, sentence)(scope, receive, send)
            return
        if body is None:
            sentence = f"the body must have at most {limits.body_bytes:,} bytes: send fewer users or items"
            await _refusal(413, sentence)(scope, receive, send)
            return
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, replay, send)


def _refusal(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status, {"connection": "close"})


async def _read(scope: Scope, receive: Receive, most: int) -> bytes | None:
    """The body, or None if it is larger than `most` bytes."""
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:20]) > most:
        return None
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)
