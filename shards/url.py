"""URLs of places: which can be used, and why the others cannot."""

from urllib.parse import unquote, urlsplit

import fsspec
from fsspec.registry import known_implementations

from shards.remote import S3, RemotePlace
from shards.web import HttpPlace

HTTP = ("http", "https")


def remote_place(url: str) -> RemotePlace:
    """The place of a URL.

    Raises:
        ValueError: see :func:`shards.places.open_place`.
    """
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        _ = parts.port
    except ValueError:
        raise ValueError("a URL is malformed; its server or port cannot be told") from None
    protocol = parts.scheme.lower()
    shown = f"{protocol}://{host}{parts.path}".rstrip("/")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError(
            f"{shown}: a place takes no query (?) and no fragment (#); names are put behind its URL"
        )
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
    return (HttpPlace if protocol in HTTP else RemotePlace)(protocol + root, shown)
