"""From what happened to what HTTP calls it."""

import logging
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.requests import Request

from synthspine.shards.service.delivery import TookTooLong
from synthspine.shards.service.renderer import Busy, Stopped
from synthspine.shards.storage.cache import WrongContent

LATE_S = 2
"""After that many seconds who gave up should come again."""

_log = logging.getLogger("synthspine.service")

Made = TypeVar("Made")


async def made(work: Awaitable[Made]) -> Made:
    """What was made; a failure is told before the first byte of an answer.

    Raises:
        HTTPException: 503 where it may do better soon, 500 where not.
    """
    try:
        return await work
    except Busy as error:
        raise HTTPException(503, str(error), {"Retry-After": str(error.retry_after_s)}) from None
    except (TookTooLong, Stopped) as error:
        raise HTTPException(503, str(error), {"Retry-After": str(LATE_S)}) from None
    except WrongContent as error:
        _log.error("a stored shard is damaged: %s", error.reason)
        raise HTTPException(500, f"the stored shard is damaged: {error.reason}") from None
    except Exception as error:
        _log.exception("it could not be made")
        raise HTTPException(500, f"it could not be made: {type(error).__name__}: {error}") from error


async def told(_: Request, error: Exception) -> JSONResponse:
    """Every refusal in the same form: ``{"error": "..."}``."""
    assert hasattr(error, "status_code") and hasattr(error, "detail") and hasattr(error, "headers")
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)
