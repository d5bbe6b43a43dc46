"""Checking shards that a service renders on demand.

The manifest holds the key of a shard, a digest of everything that determines its bytes. The service sends the
key as the ETag and the SHA-256 of the bytes as a header. No local copies are kept.
"""

import hashlib

from synthspine.shards.format.manifest import MOST_SHARD_BYTES, ShardEntry
from synthspine.shards.format.sample import ShardError
from synthspine.shards.storage.place import Place

SHA256_HEADER = "X-Content-SHA256"
"""Header with the SHA-256 of the whole shard, hexadecimal, also where only a part is sent."""


def etag_of(key: str) -> str:
    """The strong ETag of a content key."""
    return f'"{key}"'


def rendered_content(place: Place, entry: ShardEntry, most_bytes: int = MOST_SHARD_BYTES) -> bytes:
    """The bytes of a shard, rendered for this manifest and checked; at most ``most_bytes`` are read.

    Raises:
        ShardError: the service does not render this shard, or the bytes are damaged.
        OSError: it cannot be read.
    """
    where = place / entry.name
    try:
        content, headers = place.read_with_headers(entry.name, most_bytes)
    except FileNotFoundError:
        raise ShardError(f"{where}: the service does not render it any more; open the set again") from None
    if "ETag" not in headers or SHA256_HEADER not in headers:
        hint = "a set rendered on demand is read from its service, by http or https"
        raise ShardError(f"{where}: comes without ETag and {SHA256_HEADER}; {hint}")
    if headers["ETag"] != etag_of(entry.key):
        raise ShardError(
            f"{where}: the service renders with another configuration, other label maps or versions, or on "
            "another device than when the set was opened; open it again"
        )
    if hashlib.sha256(content).hexdigest() != headers[SHA256_HEADER]:
        raise ShardError(f"{where}: SHA-256 differs from that which the service sent")
    return content
