"""The routes under /v1: sets with their manifests and shards, and previews with their configurations."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse, Response

from synthspine.gen.config import config_diff
from synthspine.gen.presets import PRESETS, preset
from synthspine.shards.building.names import BANK
from synthspine.shards.reading.rendered import SHA256_HEADER, etag_of
from synthspine.shards.service.delivery import Delivery
from synthspine.shards.service.options import ServeOptions
from synthspine.shards.service.preview_query import (
    Preview,
    PreviewQuery,
    changes_as_yaml,
    dotted_settings,
    python_call,
    resolve,
)
from synthspine.shards.service.previews import clearest_map
from synthspine.shards.service.responses import (
    TAR,
    ShardResponse,
    check_ranges,
    completed,
    disconnected,
    names_etag,
    not_modified,
)
from synthspine.shards.service.sets import content_key

_SPLIT = "split.json"
Responses = dict[int | str, dict[str, Any]]

_REFUSED: Responses = {
    "4XX": {"description": "Refused; the text says why: 401 token, 404 name, 413 body, 414 and 431 length"}
}
_UNAVAILABLE: Responses = {503: {"description": "Too many requests wait; Retry-After says when to try again"}}
_NOT_MODIFIED: Responses = {304: {"description": "Unchanged (If-None-Match)"}}
_MANIFEST: Responses = {200: {"description": "The manifest", "content": {"application/json": {}}}}
_SHARD: Responses = {
    200: {
        "description": f"The shard; {SHA256_HEADER} is its SHA-256, also beside a part",
        "content": {TAR: {}},
    },
    206: {"description": "The requested ranges (Range, If-Range)"},
    404: {"description": "No such set or shard"},
    412: {"description": "The strong ETag is not that of If-Match"},
    416: {"description": "The range begins after the end, or there are too many ranges"},
    500: {"description": "The shard cannot be rendered; nothing of it was sent"},
}
_PICTURE: Responses = {
    200: {"description": "The picture", "content": {"image/png": {}}},
    400: {"description": "An unknown parameter, or a value out of bounds"},
}
_PARAMETERS = PreviewQuery.model_json_schema()["properties"]
_SETTINGS = {
    "parameters": [
        {"name": name, "in": "query", "schema": {"type": "string", "default": json.dumps(value)}}
        for name, value in dotted_settings().items()
    ]
}
"""OpenAPI description of the parameters that ``PreviewQuery`` takes without declaring them."""


def set_routes(delivery: Delivery, options: ServeOptions) -> APIRouter:
    """``/v1/sets`` and everything below it."""
    router = APIRouter(prefix="/v1/sets", tags=["sets"], responses=_REFUSED)

    @router.get("", summary="The sets that are served")
    @router.head("", include_in_schema=False)
    async def list_sets() -> dict[str, Any]:
        manifests = {name: served.manifest for name, served in delivery.sets.items()}
        return {
            name: {
                "samples": manifest.samples,
                "shards": len(manifest.shards),
                "on_demand": manifest.on_demand,
                "phantom": manifest.phantom,
            }
            for name, manifest in manifests.items()
        }

    @router.get(f"/{_SPLIT}", summary="Which patients are in which part")
    @router.head(f"/{_SPLIT}", include_in_schema=False)
    async def split() -> Response:
        content = await completed(asyncio.to_thread(options.shards.place.read, _SPLIT))
        return Response(content, media_type="application/json")

    @router.get("/{name}/manifest.json", summary="The content of a set", responses=_MANIFEST | _NOT_MODIFIED)
    @router.head("/{name}/manifest.json", include_in_schema=False)
    async def manifest(name: str, request: Request) -> Response:
        if name not in delivery.manifests:
            raise HTTPException(404, f"no set is called {name}; there are {', '.join(delivery.sets)}")
        content, digest = delivery.manifests[name]
        headers = {"ETag": etag_of(digest), "Cache-Control": "no-cache"}
        return not_modified(request, headers) or Response(content, 200, headers, "application/json")

    @router.get(
        "/{name}/{shard}.tar",
        summary="A shard, or a part of it",
        responses=_SHARD | _NOT_MODIFIED | _UNAVAILABLE,
    )
    @router.head("/{name}/{shard}.tar", include_in_schema=False)
    async def shard_tar(name: str, shard: str, request: Request) -> Response:
        check_ranges(request)
        found = delivery.entries.get((name, f"{shard}.tar"))
        if found is None:
            raise HTTPException(404, f"{name}/{shard}.tar: no such shard; the manifest lists all shards")
        etag = etag_of(content_key(found[1]))
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Accept-Ranges": "bytes"}
        wanted = request.headers.get("If-Match")
        if wanted is not None and not names_etag(wanted, etag):
            return JSONResponse({"error": f"{name}/{shard}.tar has another ETag"}, 412, headers)
        if (unchanged := not_modified(request, headers)) is not None:
            return unchanged
        if request.method == "HEAD":
            return _head(await completed(delivery.facts(*found)), headers, TAR)
        ready = await completed(delivery.shard(*found, disconnected(request)))
        headers[SHA256_HEADER] = ready.sha256
        return ShardResponse(ready, headers)

    return router


def preview_routes(delivery: Delivery, options: ServeOptions) -> APIRouter:
    """``/v1/preview.png`` and ``/v1/config``."""
    router = APIRouter(prefix="/v1", tags=["previews"], responses=_REFUSED)
    base = options.shards.generator()
    bank = delivery.rendered.samples.maps
    clearest, maps = clearest_map(bank.labels), len(bank.labels)

    def requested(request: Request, query: Annotated[PreviewQuery, Query()]) -> Preview:
        try:
            if len(request.query_params) < len(request.query_params.multi_items()):
                raise ValueError("a parameter is named twice")
            return resolve(query, base, seed=options.shards.seed, maps=maps, default_map=clearest)
        except (TypeError, ValueError) as error:
            raise HTTPException(400, str(error)) from None
        except RecursionError:
            raise HTTPException(400, "a setting is nested too deep") from None

    Requested = Annotated[Preview, Depends(requested)]

    @router.get(
        "/preview.png",
        summary="One sample as a picture",
        responses=_PICTURE | _NOT_MODIFIED | _UNAVAILABLE,
        openapi_extra=_SETTINGS,
    )
    @router.head("/preview.png", include_in_schema=False)
    async def preview_png(request: Request, preview: Requested) -> Response:
        headers = {"ETag": etag_of(delivery.previews.key(preview)), "Cache-Control": "no-cache"}
        if (unchanged := not_modified(request, headers)) is not None:
            return unchanged
        if request.method == "HEAD":
            return _head(None, headers, "image/png")
        png = await completed(delivery.preview(preview, disconnected(request)))
        return Response(png, 200, headers, "image/png")

    @router.get("/config", summary="The configuration of the set or of a preview", openapi_extra=_SETTINGS)
    @router.head("/config", include_in_schema=False)
    async def config(request: Request, preview: Requested) -> dict[str, Any]:
        labels = f"{request.base_url}v1/sets/{BANK}" if BANK in delivery.sets else BANK
        manifest, record = delivery.rendered.manifest, bank.records[preview.map]
        return {
            "yaml": changes_as_yaml(preview.config),
            "python": python_call(preview, labels),
            "changes": config_diff(preview.config, preset("spine")),
            "config": dataclasses.asdict(preview.config),
            "seed": preview.seed,
            "index": preview.index,
            "map": preview.map,
            "maps": maps,
            "source": f"{record['source']}, slice {record['slice']}",
            "presets": list(PRESETS),
            "preset": Path(options.shards.preset).name,
            "parameters": _PARAMETERS,
            "set": {"name": manifest.name, "samples": manifest.samples, "identity": manifest.identity},
            "made_with": manifest.made_with,
        }

    return router


def _head(facts: tuple[int, str] | None, headers: dict[str, str], media_type: str) -> Response:
    """The headers of a shard or picture; without those that only a render would tell (RFC 9110, 9.3.2)."""
    response = Response(None, 200, headers, media_type)
    if facts is None:
        del response.headers["Content-Length"]
    else:
        size, response.headers[SHA256_HEADER] = facts
        response.headers["Content-Length"] = str(size)
    return response
