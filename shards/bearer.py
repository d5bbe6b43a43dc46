"""The token of a service: sent to servers that ask for it, and to no others."""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

TOKEN_VARIABLE = "SYNTHSPINE_TOKEN"
CHALLENGE = 'Bearer realm="synthspine"'
"""What a service answers, with status 401, as ``WWW-Authenticate``."""

_asking: set[str] = set()
"""Servers (scheme, host and port) that have asked this process for the token."""


def token_from_environment() -> str | None:
    """The token that ``SYNTHSPINE_TOKEN`` holds, None if it is not set or empty."""
    return os.environ.get(TOKEN_VARIABLE, "").strip() or None


def authorization(url: str) -> dict[str, str]:
    """The header to send there: the token, if that server has asked for it, else nothing."""
    token = token_from_environment()
    return {"Authorization": f"Bearer {token}"} if token and _server(url) in _asking else {}


def begins_to_ask(url: str, answered: str, status: int, headers: Mapping[str, str]) -> bool:
    """Whether a server asks for the token that we have and have not sent it yet; from now on it is sent.

    A token is not carried to where a server redirects to, nor beside a user's name in the URL.

    Args:
        url: what was asked for.
        answered: URL of the answer, behind redirects.
        status: of the answer.
        headers: of the answer.
    """
    server = _server(url)
    if status != 401 or CHALLENGE not in headers.get("WWW-Authenticate", ""):
        return False
    if token_from_environment() is None or server in _asking or server != _server(answered) or "@" in server:
        return False
    _asking.add(server)
    return True


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
