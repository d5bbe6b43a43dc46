"""The token of a service: it goes to the server that the user named, if that asks for it, and to no other.

What URLs hold of users and passwords is neither shown nor stored.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

TOKEN_VARIABLE = "SYNTHSPINE_TOKEN"
SERVERS_VARIABLE = "SYNTHSPINE_TOKEN_FOR"
"""Servers that the token is for, like ``http://gpu-box:8080``, separated by spaces.

Where it is not set, the token is for one server, the first that a process opens, and only over https or on
this machine. Plain http to another machine has to be listed: everybody on the way can read the token.
"""
CHALLENGE = 'Bearer realm="synthspine"'
"""``WWW-Authenticate`` of a service that asks for the token, with status 401."""

_CREDENTIALS = re.compile(
    r"(\A[A-Za-z][A-Za-z0-9+.-]{0,20}:/+)[^/?#]*@"  # a whole value is a URL
    r"|([A-Za-z][A-Za-z0-9+.-]{0,20}:/+)[^/?#\s]*@"  # a URL in a text
)
_PORTS = {"http": 80, "https": 443}

_first_origin = ""
"""Origin (scheme, host and port) of the first server that this process opened; empty before that."""
_receivers: set[str] = set()
"""Origins that have asked this process for the token and may have it."""


def token_from_environment() -> str | None:
    """The token that ``SYNTHSPINE_TOKEN`` holds, None if it is not set or empty."""
    return os.environ.get(TOKEN_VARIABLE, "").strip() or None


def name_server(url: str) -> None:
    """Record that the user opened this URL; the first one names the server that the token is for."""
    global _first_origin
    _first_origin = _first_origin or _origin(url)


def named_server() -> str:
    """Origin of the server that the user named first, empty before that."""
    return _first_origin


def authorization(url: str) -> dict[str, str]:
    """The header to send with a request: the token, if that origin has asked for it, else nothing."""
    token = token_from_environment()
    return {"Authorization": f"Bearer {token}"} if token and _origin(url) in _receivers else {}


def accept_challenge(url: str, answered: str, status: int, headers: Mapping[str, str]) -> bool:
    """Whether a response asks for the token and the request is to be repeated with it.

    From then on the token is sent to that origin. Threads that received the challenge at the same time all
    repeat their requests. The token does not follow redirects to other origins (``answered`` is the URL of
    the response), and is not sent beside a user's name in the URL.

    Raises:
        PermissionError: the token is for another server, or others could read it on the way.
        ValueError: ``SYNTHSPINE_TOKEN_FOR`` holds something else than servers.
    """
    if status != 401 or CHALLENGE not in headers.get("WWW-Authenticate", ""):
        return False
    origin = _origin(url)
    has_user = "@" in urlsplit(url).netloc
    if not origin or origin != _origin(answered) or has_user or token_from_environment() is None:
        return False
    _check_receiver(origin)
    _receivers.add(origin)
    return True


def without_credentials(value: Any) -> Any:
    """A text, or a value as JSON has it, without the users and passwords of all URLs in it."""
    if isinstance(value, dict):
        return {name: without_credentials(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [without_credentials(entry) for entry in value]
    if isinstance(value, str):
        return _CREDENTIALS.sub(lambda found: found[1] or found[2], value)
    return value


def is_this_machine(host: str) -> bool:
    """Whether a host is an address of this machine alone: ``127.0.0.1``, ``::1``, ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_receiver(origin: str) -> None:
    if listed := os.environ.get(SERVERS_VARIABLE, "").split():
        if origin not in {_listed_origin(server) for server in listed}:
            reserved = f"{SERVERS_VARIABLE} reserves that of {TOKEN_VARIABLE} for other servers"
            raise PermissionError(f"asks for a token; {reserved}")
        return
    if origin != _first_origin:
        raise PermissionError(
            f"asks for a token; that of {TOKEN_VARIABLE} is for {_first_origin}, which was opened first: "
            f"list all servers that it is for in {SERVERS_VARIABLE}"
        )
    if origin.startswith("http:") and not is_this_machine(urlsplit(origin).hostname or ""):
        raise PermissionError(
            f"asks for the token over plain http, where others can read it: use https, or, in a network that "
            f"you trust, set {SERVERS_VARIABLE}={origin}"
        )


def _listed_origin(server: str) -> str:
    try:
        origin = _origin(server)
    except ValueError:
        origin = ""
    if not origin:
        raise ValueError(f"{SERVERS_VARIABLE}: {server!r} is not a server like http://gpu-box:8080")
    return origin


def _origin(url: str) -> str:
    """Scheme, host and port in normal form; empty for what is not the URL of a web server."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or _PORTS[parts.scheme]}"
