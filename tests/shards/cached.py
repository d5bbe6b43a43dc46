"""Shards for the tests of the cache."""

import hashlib
from pathlib import Path


def digest(content):
    return hashlib.sha256(content).hexdigest()


def fetch(cache, content, load=None):
    return cache.fetch(digest(content), len(content), load or (lambda: content))


def never():
    raise AssertionError("is in the cache")


def kept(folder):
    return sorted(path.stem for path in Path(folder).glob("??/*.tar"))


def size_of(folder):
    return sum(path.stat().st_size for path in Path(folder).glob("??/*.tar"))


def put(cache, number, content=None):
    """Keep a shard of 100 bytes by a key that is not its SHA-256."""
    content = content or bytes([number]) * 100
    cache.put(f"{number:064x}", digest(content), content)


def held(cache, number):
    found = cache.open(f"{number:064x}")
    if found is None:
        return None
    with found.file as file:
        return file.read()
