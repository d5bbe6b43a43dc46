"""The service as an ASGI application: the routes of sets and previews, health, metrics and the page."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp

from synthspine.shards.service.delivery import Delivery
from synthspine.shards.service.middleware import RequestChecks
from synthspine.shards.service.options import ServeOptions
from synthspine.shards.service.preview_query import PreviewQuery, resolve
from synthspine.shards.service.responses import error_response, invalid_query
from synthspine.shards.service.routes import preview_routes, set_routes

_PAGE = Path(__file__).with_name("page")
_ABOUT = (
    "Synthetic lumbar-spine MRI, rendered on demand. The ETag of a shard is a digest of all it depends on."
)
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
}
"""A browser loads nothing for the pages from other servers, and embeds them in no other page."""
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_LINKS = "<!-- links to other pages -->"


@dataclass(frozen=True, kw_only=True, slots=True)
class Extra:
    """What a package above ``shards`` adds to the service, such as the viewer of ``eval``.

    Attributes:
        routes: more routes. Those under /v1/ need the token; a POST route may read a body, which it bounds.
        pages: titles of its pages by path; the first page has links to them.
    """

    routes: APIRouter = field(default_factory=APIRouter)
    pages: Mapping[str, str] = field(default_factory=dict)

    @property
    def uploads(self) -> frozenset[str]:
        """Paths to which a body may be posted."""
        routes = (route for route in self.routes.routes if isinstance(route, APIRoute))
        return frozenset(route.path for route in routes if "POST" in (route.methods or ()))


def make_application(
    delivery: Delivery, options: ServeOptions, token: str | None, extra: Extra | None = None
) -> ASGIApp:
    """The service as an ASGI application.

    Args:
        delivery: what it serves; closed when the application ends.
        options: limits, and the place of the sets.
        token: token that requests for data must carry; None if they need none.
        extra: what a package above ``shards`` adds.
    """
    extra = extra or Extra()
    links = "".join(f'<a href="{path}">{title}</a>' for path, title in extra.pages.items())
    first_page = (_PAGE / "index.html").read_text(encoding="utf-8").replace(_LINKS, links)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        shards = options.shards
        delivery.warm_up(
            resolve(PreviewQuery.model_validate({}), shards.generator(), seed=shards.seed, maps=1)
        )
        yield
        await delivery.close()

    app = FastAPI(
        title="SynthSpine",
        version=metadata.version("synthspine"),
        description=_ABOUT + ("" if token is None else " Data needs a bearer token."),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_exception_handler(StarletteHTTPException, error_response)
    app.add_exception_handler(RequestValidationError, invalid_query)
    app.include_router(set_routes(delivery, options))
    app.include_router(preview_routes(delivery, options))
    app.include_router(extra.routes)

    @app.get("/healthz", tags=["status"], summary="Whether the process answers")
    @app.head("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["status"], summary="Whether requests should be sent here (503: not now)")
    @app.head("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        reason = delivery.not_ready()
        return JSONResponse({"status": reason or "ready"}, 503 if reason else 200)

    @app.get("/metrics", tags=["status"], summary="Counters for Prometheus")
    @app.head("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(delivery.metrics.text(), media_type=_PROMETHEUS)

    @app.get("/", include_in_schema=False)
    @app.head("/", include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(first_page, headers=PAGE_HEADERS)

    @app.get("/docs", include_in_schema=False)
    @app.head("/docs", include_in_schema=False)
    async def docs() -> Response:
        return FileResponse(_PAGE / "docs.html", headers=PAGE_HEADERS)

    app.mount("/page", StaticFiles(directory=_PAGE))
    return RequestChecks(
        app,
        delivery.metrics,
        requests=options.requests,
        token=token,
        answers_to=options.answers_to,
        uploads=extra.uploads,
    )
