"""The token of a service: sent to the server that a set's URL names, if it asks for it, and to no others."""

import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

TOKEN_VARIABLE = "SYNTHSPINE_TOKEN"
SERVERS_VARIABLE = "SYNTHSPINE_TOKEN_FOR"
"""Servers that the token is for, like ``http://gpu-box:8080``, with spaces between; no others get it then.

Where it is not set, https and this machine's own addresses are good enough. Plain http to another machine has
to be named: everybody on the way can read the token.
"""
CHALLENGE = 'Bearer realm="synthspine"'
"""What a service answers, with status 401, as ``WWW-Authenticate``."""

_PORTS = {"http": 80, "https": 443}

_asking: set[str] = set()
"""Origins (scheme, host and port) that have asked this process for the token."""


def token_from_environment() -> str | None:
    """The token that ``SYNTHSPINE_TOKEN`` holds, None if it is not set or empty."""
    return os.environ.get(TOKEN_VARIABLE, "").strip() or None


def authorization(url: str) -> dict[str, str]:
    """The header to send there: the token, if that origin has asked for it, else nothing."""
    token = token_from_environment()
    return {"Authorization": f"Bearer {token}"} if token and _origin(url) in _asking else {}


def begins_to_ask(url: str, answered: str, status: int, headers: Mapping[str, str]) -> bool:
    """Whether a server asks for the token that we have, so that it is worth to ask once more, with it.

    From now on it is sent there. Threads that asked at the same time without it all come again with it. It is
    not carried to where a server redirects to, nor sent beside a user's name in the URL.

    Args:
        url: what was asked for: the URL of a set that a user named, or of a file below it.
        answered: URL of the answer, behind redirects.
        status: of the answer.
        headers: of the answer.

    Raises:
        PermissionError: it asks for a token that is not for it, or that others could read on the way.
        ValueError: ``SYNTHSPINE_TOKEN_FOR`` names no servers.
    """
    if status != 401 or CHALLENGE not in headers.get("WWW-Authenticate", ""):
        return False
    origin = _origin(url)
    if not origin or origin != _origin(answered) or "@" in urlsplit(url).netloc:
        return False
    if token_from_environment() is None:
        return False
    _check_may_have_it(origin)
    _asking.add(origin)
    return True


def is_this_machine(host: str) -> bool:
    """Whether a host is an address of this machine alone: ``127.0.0.1``, ``::1``, ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_may_have_it(origin: str) -> None:
    named = os.environ.get(SERVERS_VARIABLE, "").split()
    if named:
        if origin not in {_named_origin(server) for server in named}:
            raise PermissionError(
                f"asks for a token; {SERVERS_VARIABLE} keeps that of {TOKEN_VARIABLE} for others"
            )
    elif origin.startswith("http:") and not is_this_machine(urlsplit(origin).hostname or ""):
        raise PermissionError(
            f"asks for the token over plain http, where others can read it: use https, or, in a network that "
            f"you trust, set {SERVERS_VARIABLE}={origin}"
        )


def _named_origin(server: str) -> str:
    try:
        origin = _origin(server)
    except ValueError:
        origin = ""
    if not origin:
        raise ValueError(f"{SERVERS_VARIABLE}: {server!r} is no server like http://gpu-box:8080")
    return origin


def _origin(url: str) -> str:
    """Scheme, host and port, written in one way only; empty for what is not the URL of a web server."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or _PORTS[parts.scheme]}"
