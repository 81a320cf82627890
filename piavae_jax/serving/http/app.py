"""The ASGI app: routes, errors, and the exchange of one run for another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from piavae_jax.errors import UserError
from piavae_jax.serving.http import schemas
from piavae_jax.serving.http.batcher import Batcher, Overloaded
from piavae_jax.serving.http.engine import Engine
from piavae_jax.serving.http.limits import Limits
from piavae_jax.serving.http.metrics import Metrics
from piavae_jax.serving.http.middleware import Guard

_STATIC = Path(__file__).parent / "static"
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Error, "description": description}
    for status, description in {
        400: "the body is no JSON",
        404: "the item is unknown",
        408: "the body came too slowly",
        413: "the body is too large",
        422: "an argument is wrong",
        503: "too many requests wait",
    }.items()
}


class Server:
    """What the routes share: the run that is served, which `reload` replaces."""

    def __init__(self, load: Callable[[], Engine]) -> None:
        """Take what loads the run; `start` calls it first."""
        self._load, self.metrics = load, Metrics()
        self.last_error: str | None = None
        self._reloading = asyncio.Lock()
        self.batcher: Batcher

    async def start(self) -> None:
        """Load the run.

        Raises:
          UserError: it cannot be loaded.
        """
        async with self._reloading:
            self._serve(await asyncio.to_thread(self._load))

    async def reload(self) -> bool:
        """Load the run again, beside the one that is served, and change over; on an error keep what there was.

        Requests go on: those that have begun are answered from the old run, later ones from the new.
        """
        async with self._reloading:
            try:
                engine = await asyncio.to_thread(self._load)
            except Exception as error:  # a device without room, a damaged file: whatever it is, requests go on
                expected = isinstance(error, UserError | OSError)
                self.last_error = str(error) if expected else f"{type(error).__name__}: {error}"
                self.metrics.reloads.labels("failed").inc()
                return False
            old = self.batcher
            self._serve(engine)
            self.last_error = None
            self.metrics.reloads.labels("done").inc()
            await old.close()
            return True

    def _serve(self, engine: Engine) -> None:
        self.batcher = Batcher(engine, self.metrics)
        self.metrics.loaded.set_to_current_time()


def make_app(load: Callable[[], Engine], limits: Limits, *, hosts: list[str] | None = None) -> FastAPI:
    """The app; `app.state.server.reload` exchanges the run.

    Args:
      load: gives the engine to serve, at the start and at each reload.
      limits: what requests may ask for.
      hosts: names that the Host header may have, against pages that rebind their name to this server; None allows all.
    """
    server = Server(load)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if not hasattr(server, "batcher"):
            await server.start()
        yield
        await server.batcher.close()

    app = FastAPI(
        title="piavae_jax",
        summary="Recommendations from a trained run.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.server = server
    app.mount("/static", StaticFiles(directory=_STATIC))
    _add_routes(app, server)
    _add_pages(app, server, limits)
    _add_errors(app)
    schemas.state_limits(app.openapi(), limits)  # FastAPI keeps the document
    if hosts is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    app.add_middleware(Guard, limits=limits, metrics=server.metrics)
    return app


def _add_routes(app: FastAPI, server: Server) -> None:
    def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
        return {status: _REFUSALS[status] for status in (*statuses, 422, 503)}

    @app.post("/recommend", response_model=schemas.RecommendResponse, responses=refusals(400, 408, 413))
    async def recommend(body: schemas.RecommendRequest) -> Response:
        """The best items for each of some users."""
        batcher = server.batcher
        job = batcher.engine.job(
            body.histories, body.k, exclude_seen=body.exclude_seen, allow=body.allow, deny=body.deny
        )
        # The answer is ours: to validate it again costs more than the model does.
        return JSONResponse({"run": batcher.engine.name, "recommendations": await batcher.submit(job)})

    @app.get("/similar/{item:path}", response_model=schemas.SimilarResponse, responses=refusals(404))
    async def similar(
        item: str, k: Annotated[int, Query(ge=1)] = 10, by: Literal["decoder", "anchors"] = "decoder"
    ) -> Response:
        """The items most like one: by the vectors that score them, or by PIA's anchors."""
        batcher = server.batcher
        item_id = batcher.engine.item_id(item)
        try:
            known = batcher.engine.item(item_id)
        except UserError as error:
            raise HTTPException(404, str(error)) from error
        found = await batcher.call(batcher.engine.similar, item_id, k, by)
        return JSONResponse({"run": batcher.engine.name, "item": known, "items": found})

    @app.post("/explain", response_model=schemas.ExplainResponse, responses=refusals(400, 408, 413))
    async def explain(body: schemas.ExplainRequest) -> Response:
        """Which items of a history pull the recommendation of an item."""
        batcher = server.batcher
        known = batcher.engine.item(body.item)
        found = await batcher.call(batcher.engine.explain, body.history, body.item)
        return JSONResponse({"run": batcher.engine.name, "item": known, "history": found})

    @app.get("/items", response_model=schemas.ItemsResponse, responses={422: _REFUSALS[422]})
    async def items(
        q: Annotated[str, Query(max_length=200)] = "", limit: Annotated[int, Query(ge=1, le=100)] = 20
    ) -> Response:
        """Search titles; without words, the most popular items."""
        found = await asyncio.to_thread(server.batcher.engine.search, q, limit)
        return JSONResponse({"items": found})


def _add_pages(app: FastAPI, server: Server, limits: Limits) -> None:
    @app.get("/health", response_model=schemas.HealthResponse)
    async def health() -> dict[str, Any]:
        """What is served."""
        engine = server.batcher.engine
        return {
            "status": "ok",
            "run": engine.name,
            "model": engine.recommender.run.config.model.name,
            "items": engine.num_items,
            "loaded": engine.loaded,
            "last_reload_error": server.last_error,
            "limits": vars(limits),
        }

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(generate_latest(server.metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST})

    for path, name in (("/", "index.html"), ("/docs", "docs.html")):
        app.add_route(path, _page(name), include_in_schema=False)


def _page(name: str) -> Callable[[Request], Any]:
    async def page(_: Request) -> Response:
        return FileResponse(_STATIC / name)

    return page


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(UserError)
    async def user_error(_: Request, error: UserError) -> Response:
        return _error(422, str(error))

    @app.exception_handler(Overloaded)
    async def overloaded(_: Request, __: Overloaded) -> Response:
        return _error(503, "too many requests wait for the model: try again in a second", {"retry-after": "1"})

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        return _error(error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def wrong(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return _error(400, "the body must be JSON, and is not: see /docs")
        place = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
        return _error(422, f"{ascii(place)[1:-1][:100]} is wrong, {first['msg'].lower()}: see /docs")


def _error(status: int, sentence: str, headers: Any = None) -> Response:
    return JSONResponse({"error": sentence}, status, headers)
