"""The routes of the viewer: its page, and the segmentation of one scan at a time; nothing is kept."""

import asyncio
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response
from starlette.requests import ClientDisconnect

from synthspine.eval.viewer import answer
from synthspine.gen.core.device import pick_device
from synthspine.shards.command import memory_shortage
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.service.app import PAGE_HEADERS, Extra
from synthspine.shards.service.responses import ABANDONED, completed
from synthspine.shards.volumes.files import SUFFIXES, ending_of
from synthspine.train.model.checkpoint import CheckpointError

MOST_BYTES = 2**28
"""Most bytes of an uploaded file."""
UPLOAD_S = 120.0
"""Longest time for a client to send a file, seconds."""
MOST_SCANS = 4
"""Most scans at a time that are uploaded, wait or are segmented; one is segmented at a time."""
RETRY_S = 20
"""Seconds after which a client that was refused may try again."""

_PATH = "/v1/segmentation"
_PAGE = Path(__file__).with_name("page")
_FILES = ("viewer.css", "viewer.js")
_NO_MODEL = "the model of the project is missing from this installation, or damaged; install SynthSpine again"
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Header (JSON, after its length as uint32), image, mask, file of the mask",
        "content": {"application/octet-stream": {}},
    },
    408: {"description": f"The file did not arrive within {UPLOAD_S:g} s"},
    413: {"description": f"More than {MOST_BYTES} bytes, or too large for the memory"},
    422: {"description": "No scan that can be segmented; the text says why"},
    503: {"description": "Too many scans at a time, or the model is missing"},
}

_log = logging.getLogger("synthspine.service")


def viewer(device: str) -> Extra:
    """Page and routes of the viewer; the model runs on ``device`` ("auto", "cpu", "cuda")."""
    routes, torch_device = APIRouter(), pick_device(device)
    turn, taken = asyncio.Lock(), 0

    @routes.get("/viewer", include_in_schema=False)
    @routes.head("/viewer", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(_PAGE / "viewer.html", headers=PAGE_HEADERS)

    @routes.get("/viewer/{name}", include_in_schema=False)
    @routes.head("/viewer/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        if name not in _FILES:
            raise HTTPException(404, "Not Found")
        return FileResponse(_PAGE / name)

    @routes.get(_PATH, tags=["viewer"], summary="What can be segmented here")
    @routes.head(_PATH, include_in_schema=False)
    async def facts() -> dict[str, Any]:
        problem = None if answer.PRETRAINED.is_file() else _NO_MODEL
        return {"endings": SUFFIXES, "most_bytes": MOST_BYTES, "problem": problem}

    @routes.post(_PATH, tags=["viewer"], summary="Segment a scan", responses=_RESPONSES, openapi_extra=_BODY)
    async def segmentation(request: Request, name: Annotated[str, Query(max_length=255)]) -> Response:
        nonlocal taken
        ending = ending_of(Path(name))
        if ending is None:
            raise HTTPException(422, f"{name}: only {', '.join(SUFFIXES)} files are read here")
        if taken >= MOST_SCANS:
            later = {"Retry-After": str(RETRY_S)}
            raise HTTPException(503, f"{MOST_SCANS} scans are in progress; try again in a minute", later)
        taken += 1
        try:
            with TemporaryDirectory(prefix="synthspine-viewer-") as folder:
                path = Path(folder) / f"scan{ending}"
                await completed(_receive(request, path))
                async with turn:
                    if await request.is_disconnected():
                        raise HTTPException(ABANDONED, "the client has gone")
                    content = await completed(asyncio.to_thread(_viewed, path, name, torch_device))
        finally:
            taken -= 1
        return Response(content, 200, {"Cache-Control": "no-store"}, "application/octet-stream")

    return Extra(routes=routes, pages={"/viewer": "Viewer"})


async def _receive(request: Request, path: Path) -> None:
    """Write the body of a request to a file.

    Raises:
        HTTPException: 413 or 408 beyond the limits.
    """
    text = f"the file has more than {MOST_BYTES / 2**20:g} MiB; use synthspine predict"
    too_large = HTTPException(413, text)
    if int(request.headers.get("Content-Length", 0)) > MOST_BYTES:
        raise too_large
    size = 0
    try:
        with path.open("wb") as file:
            async with asyncio.timeout(UPLOAD_S):
                async for block in request.stream():
                    size += len(block)
                    if size > MOST_BYTES:
                        raise too_large
                    file.write(block)
    except TimeoutError:
        raise HTTPException(408, f"the file did not arrive within {UPLOAD_S:g} s") from None
    except ClientDisconnect:
        raise HTTPException(ABANDONED, "the client has gone") from None


def _viewed(path: Path, name: str, device: torch.device) -> bytes:
    try:
        return answer.view(path, name, device)
    except SpiderError as error:
        raise HTTPException(422, f"{name}: {error.reason.replace(str(path), name)}") from None
    except CheckpointError as error:
        _log.error("no scan can be segmented: %s", error)
        raise HTTPException(503, _NO_MODEL) from None
    except (MemoryError, RuntimeError) as error:
        if memory_shortage(error) is None:
            raise
        raise HTTPException(413, f"{name}: is too large for the memory of this service") from None
