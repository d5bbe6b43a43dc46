"""Routes of the sets: manifests and shards."""

import asyncio
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from synthspine.shards.reading.rendered import SHA256_HEADER, etag_of
from synthspine.shards.service.conditional import Unsatisfiable, asked_range, names_tag
from synthspine.shards.service.delivery import Delivery
from synthspine.shards.service.description import MANIFEST_ANSWERS, REFUSED, SHARD_ANSWERS
from synthspine.shards.service.options import ServeOptions
from synthspine.shards.service.responses import made
from synthspine.shards.service.sending import ShardResponse
from synthspine.shards.service.sets import facts_of
from synthspine.shards.storage.cache import CachedShard
from synthspine.shards.storage.place import Place

_SPLIT = "split.json"


def set_routes(delivery: Delivery, options: ServeOptions) -> APIRouter:
    """``/v1/sets`` and all below it."""
    router = APIRouter(prefix="/v1/sets", tags=["sets"], responses=REFUSED)

    @router.get("", summary="The sets that are served")
    @router.head("", include_in_schema=False)
    async def list_sets() -> dict[str, Any]:
        return {name: facts_of(served) for name, served in delivery.sets.items()}

    @router.get(f"/{_SPLIT}", summary="Which patients are in which part")
    @router.head(f"/{_SPLIT}", include_in_schema=False)
    async def split() -> Response:
        content = await made(asyncio.to_thread(_split_beside, options.shards.place))
        if content is None:
            raise HTTPException(404, f"there is no {_SPLIT} beside the sets")
        return Response(content, media_type="application/json")

    @router.get("/{name}/manifest.json", summary="What a set holds", responses=MANIFEST_ANSWERS)
    @router.head("/{name}/manifest.json", include_in_schema=False)
    async def manifest(name: str, request: Request) -> Response:
        if name not in delivery.manifests:
            raise HTTPException(404, f"no set is called {name}; there are {', '.join(delivery.sets)}")
        content, digest = delivery.manifests[name]
        headers = {"ETag": etag_of(digest), "Cache-Control": "no-cache"}
        if names_tag(request.headers.get("If-None-Match"), headers["ETag"]):
            return Response(None, 304, headers)
        return Response(content, 200, headers, "application/json")

    @router.get("/{name}/{shard}.tar", summary="A shard, or a part of it", responses=SHARD_ANSWERS)
    @router.head("/{name}/{shard}.tar", include_in_schema=False)
    async def shard_tar(name: str, shard: str, request: Request) -> Response:
        found = delivery.entry(name, f"{shard}.tar")
        if found is None:
            raise HTTPException(404, f"{name}/{shard}.tar: no such shard; the manifest lists those there are")
        etag = etag_of(found[0].key(found[1]))
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Accept-Ranges": "bytes"}
        wanted = request.headers.get("If-Match")
        if wanted is not None and not names_tag(wanted, etag):
            return JSONResponse({"error": f"{name}/{shard}.tar has another ETag"}, 412, headers)
        if names_tag(request.headers.get("If-None-Match"), etag):
            return Response(None, 304, headers)
        ready = await made(delivery.shard(*found))
        return _answer(request, ready, headers, delivery, options.stall_s)

    return router


def _split_beside(place: Place) -> bytes | None:
    try:
        return place.read(_SPLIT)
    except FileNotFoundError:
        return None


def _answer(
    request: Request, shard: CachedShard, headers: dict[str, str], delivery: Delivery, stall_s: float
) -> Response:
    """A shard or the part of it that a request asks for."""
    wish = request.headers.get("Range") if request.method == "GET" else None
    try:
        part = asked_range(wish, request.headers.get("If-Range"), headers["ETag"], shard.bytes)
    except Unsatisfiable:
        shard.file.close()
        headers["Content-Range"] = f"bytes */{shard.bytes}"
        return JSONResponse({"error": f"the shard has {shard.bytes} bytes"}, 416, headers)
    start, stop = part or (0, shard.bytes)
    headers |= {"Content-Type": "application/x-tar", SHA256_HEADER: shard.sha256}
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{shard.bytes}"
    return ShardResponse(
        shard,
        200 if part is None else 206,
        headers,
        start,
        stop,
        stall_s=stall_s,
        sent=delivery.measures.sent.inc,
    )
