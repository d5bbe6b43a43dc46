"""The service as an ASGI application: routes of sets, previews, health and the page, behind the guard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as Refusal
from starlette.types import ASGIApp

from synthspine.shards.service.delivery import Delivery
from synthspine.shards.service.description import describe
from synthspine.shards.service.middleware import Guard
from synthspine.shards.service.options import ServeOptions
from synthspine.shards.service.preview_routes import preview_routes
from synthspine.shards.service.responses import told
from synthspine.shards.service.set_routes import set_routes
from synthspine.shards.service.settings import look_of

PAGE = Path(__file__).with_name("page")
_ONLY_OURS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of pages: a browser loads nothing from elsewhere, and shows them in no other page."""
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


def make_application(delivery: Delivery, options: ServeOptions, token: str | None) -> ASGIApp:
    """The service as an ASGI application.

    Args:
        delivery: what it serves; closed when the application ends.
        options: limits, and where the sets lie.
        token: that has to come with data; None for none.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        delivery.warm_up(look_of({}, options.shards.generator(), seed=options.shards.seed, maps=1))
        yield
        delivery.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, **describe(token is not None))
    app.add_exception_handler(Refusal, told)
    app.include_router(set_routes(delivery, options))
    app.include_router(preview_routes(delivery, options))

    @app.get("/healthz", tags=["status"], summary="Whether the process answers")
    @app.head("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["status"], summary="Whether work should be sent here (503: not now)")
    @app.head("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        reason = delivery.not_ready()
        return JSONResponse({"status": reason or "ready"}, 503 if reason else 200)

    @app.get("/metrics", tags=["status"], summary="Counters for Prometheus")
    @app.head("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(delivery.measures.text(), media_type=_METRICS)

    @app.get("/", include_in_schema=False)
    @app.head("/", include_in_schema=False)
    async def index() -> Response:
        return FileResponse(PAGE / "index.html", headers=_ONLY_OURS)

    @app.get("/docs", include_in_schema=False)
    @app.head("/docs", include_in_schema=False)
    async def docs() -> Response:
        return FileResponse(PAGE / "docs.html", headers=_ONLY_OURS)

    @app.get("/page/{name}", include_in_schema=False)
    @app.head("/page/{name}", include_in_schema=False)
    async def page_file(name: str) -> Response:
        if name not in {path.name for path in PAGE.iterdir()}:
            raise HTTPException(404, f"{name}: no such file")
        return FileResponse(PAGE / name)

    return Guard(app, delivery.measures, options.requests, token)
