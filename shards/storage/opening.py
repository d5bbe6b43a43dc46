"""Opening the place of a path or URL, and refusing URLs that cannot be used."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from synthspine.shards.storage.auth import name_server, without_credentials
from synthspine.shards.storage.place import LocalPlace, Place

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_CUT_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")
_IPV6 = re.compile(r"(://(?:[^/@]*@)?\[)[0-9A-Fa-f:.]+(?:%[^\]/]*)?(?=\])")
"""The address of a server by IPv6, ``http://[::1]:8080``: its two colons chain no URLs."""
_SHELL = re.compile(r"\s*(pipe:|\|)|.*\|\s*$", re.DOTALL)
HTTP = ("http", "https")


def open_place(where: str | Path | Place) -> Place:
    """The place of a path or URL; it does not have to exist yet.

    Credentials and options of a URL come from fsspec's own configuration and environment variables
    (``FSSPEC_HTTP_...``, ``AWS_...``). ``file://`` is the local folder.

    Raises:
        ValueError: a URL that cannot be used: of an unknown protocol or one whose package is not installed,
            chained (``::``), with a query or a fragment, or a shell command (``pipe:``).
    """
    if isinstance(where, Place):
        return where
    text = str(where)
    if isinstance(where, str) and _SHELL.match(text):
        # It may hold a token.
        hint = "sets are read from folders and URLs, no command is run"
        raise ValueError(f"{' '.join(text.split()[:1])} ...: is a shell command; {hint}")
    if _CUT_URL.match(text):
        raise ValueError(f"{_without_secrets(text)}: a URL has two slashes after the colon")
    url = _URL.match(text)
    if isinstance(where, Path) or (url is None and "::" not in text):
        if not text:
            raise ValueError("the path of a set is empty")
        return LocalPlace(Path(where))
    if "::" in _IPV6.sub(r"\1", text, count=1):
        raise ValueError(f"{_without_secrets(text)}: chained URLs (::) are not supported")
    assert url is not None
    if url[1].lower() in ("file", "local"):
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
            hint = "is not the URL of a local folder: file:///path/to/it"
            raise ValueError(f"{_without_secrets(text)}: {hint}")
        return LocalPlace(Path(unquote(parts.path)))
    return _remote_place(text)


def _remote_place(url: str) -> Place:
    # Local places need neither fsspec nor aiohttp, which are slow to import.
    import fsspec
    from fsspec.registry import known_implementations

    from synthspine.shards.storage.http import HttpPlace
    from synthspine.shards.storage.remote import S3, RemotePlace

    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        _ = parts.port
    except ValueError:
        raise ValueError("malformed URL: its server or port cannot be parsed") from None
    protocol = parts.scheme.lower()
    shown = f"{protocol}://{host}{parts.path}".rstrip("/")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError(f"{shown}: the URL of a place has no query (?) and no fragment (#)")
    if ".." in parts.path.split("/") or ".." in unquote(parts.path).split("/"):
        raise ValueError(f"{shown}: .. is not allowed in a URL")
    if not host and protocol in (*HTTP, *S3):
        raise ValueError(f"{shown}: the {'bucket' if protocol in S3 else 'server'} is missing")
    if host != parts.netloc and protocol in S3:
        raise ValueError(f"{shown}: credentials come from the environment (AWS_...), not from the URL")
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError:
        if protocol in S3:
            raise ValueError(f"{shown}: needs s3fs: pip install 'synthspine[s3]'") from None
        needs = known_implementations.get(protocol, {}).get("err", "a package that is not installed")
        raise ValueError(f"{shown}: {needs}") from None
    except ValueError:
        raise ValueError(f"{shown}: unknown protocol {protocol}://") from None
    root = url[len(protocol) :].rstrip("/")
    if protocol not in HTTP:
        return RemotePlace(protocol + root, shown)
    name_server(protocol + root)
    return HttpPlace(protocol + root, shown)


def _without_secrets(text: str) -> str:
    return str(without_credentials(re.sub(r"[?#].*", "", text, flags=re.DOTALL)))
