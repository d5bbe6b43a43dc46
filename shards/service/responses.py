"""HTTP responses: shards from the disk cache, conditional requests, and errors as JSON."""

import logging
import os
import re
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from synthspine.shards.service.delivery import Abandoned, NotReadyYet
from synthspine.shards.service.device_queue import Busy, Stopped
from synthspine.shards.storage.cache import CachedShard, WrongContent

TAR = "application/x-tar"
MOST_RANGES = 16
"""Ranges of one request: each of them is read and sent by itself."""
RETRY_S = 2
"""Seconds after which a client should try again, where the service cannot estimate them."""
_TAG = re.compile(r'(W/)?("[^"]*")')

ABANDONED = 499
"""Status of a request whose client has closed the connection; nobody reads it but the metrics."""

_log = logging.getLogger("synthspine.service")

Result = TypeVar("Result")


class ShardResponse(FileResponse):
    """A shard of the disk cache, or the ranges of it that the request names; it is closed at the end.

    The headers hold the ETag.
    """

    chunk_size = 2**20
    """Bytes that are read at a time: changing threads takes longer than reading."""

    def __init__(self, shard: CachedShard, headers: Mapping[str, str]) -> None:
        self._file = shard.file
        # By its descriptor the file can be read even after the cache has removed its name.
        path, status = f"/dev/fd/{shard.file.fileno()}", os.fstat(shard.file.fileno())
        super().__init__(path, headers=headers, media_type=TAR, stat_result=status)
        # It would be the time of the last use.
        del self.headers["Last-Modified"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a range of another unit or of another version is ignored (RFC 9110, 14.2, 13.1.5)."""
        headers, etag = Headers(scope=scope), self.headers["ETag"]
        unit = headers.get("Range", "").partition("=")[0].strip().lower()
        valid = unit == "bytes" and headers.get("If-Range", etag).strip() == etag
        ignored = (b"if-range",) if valid else (b"if-range", b"range")
        kept = [pair for pair in scope["headers"] if pair[0] not in ignored]
        try:
            await super().__call__({**scope, "headers": kept}, receive, send)
        finally:
            self._file.close()


def names_etag(header: str | None, etag: str, *, weak: bool = False) -> bool:
    """Whether an ``If-Match`` header names this ETag, or any; ``If-None-Match`` also by a weak tag."""
    if header is None or header.strip() == "*":
        return header is not None
    return any(tag == etag and (weak or not prefix) for prefix, tag in _TAG.findall(header))


def not_modified(request: Request, headers: Mapping[str, str]) -> Response | None:
    """304 if the client has the content of this ETag already."""
    known = names_etag(request.headers.get("If-None-Match"), headers["ETag"], weak=True)
    return Response(None, 304, headers) if known else None


def check_ranges(request: Request) -> None:
    """Raise HTTPException 416 for too many ranges, before they are parsed or anything is rendered."""
    if request.headers.get("Range", "").count(",") >= MOST_RANGES:
        raise HTTPException(416, f"at most {MOST_RANGES} ranges are sent at a time")


async def disconnected(request: Request) -> None:
    """Wait until the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def completed(work: Awaitable[Result]) -> Result:
    """The result of some work; its errors become HTTP errors, before the first byte of a response.

    The texts of unexpected errors may hold paths of this machine: they are logged, and not sent.

    Raises:
        HTTPException: 503 with ``Retry-After`` if a later request may succeed, 404 without the file, or 500.
    """
    try:
        return await work
    except HTTPException:
        raise
    except Busy as error:
        raise HTTPException(503, str(error), {"Retry-After": str(error.retry_after_s)}) from None
    except (NotReadyYet, Stopped) as error:
        raise HTTPException(503, str(error), {"Retry-After": str(RETRY_S)}) from None
    except Abandoned as error:
        raise HTTPException(ABANDONED, str(error)) from None
    except FileNotFoundError:
        raise HTTPException(404, "there is no such file any more") from None
    except WrongContent as error:
        _log.error("a stored shard is damaged: %s", error)
        raise HTTPException(500, f"the stored shard is damaged: {error}") from None
    except Exception as error:
        _log.exception("the response cannot be made")
        text = f"the response cannot be made ({type(error).__name__}); the log of the service says why"
        raise HTTPException(500, text) from error


async def error_response(_: Request, error: Exception) -> JSONResponse:
    """An HTTP error as ``{"error": "..."}``."""
    assert hasattr(error, "status_code") and hasattr(error, "detail") and hasattr(error, "headers")
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def invalid_query(_: Request, error: Exception) -> JSONResponse:
    """400 for a parameter of the wrong kind or out of bounds."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    reason = first["msg"].replace("Input should", "should")
    return JSONResponse({"error": f"{first['loc'][-1]} is {first['input']!r}: {reason}"}, 400)
