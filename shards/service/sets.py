"""The sets that are served: one that is rendered on demand, and stored ones."""

import logging
from collections.abc import Callable

from synthspine.gen.core.documents import UnfitFile
from synthspine.shards.building.names import SYNTHETIC
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.building.sets import set_identity
from synthspine.shards.building.synthetic_samples import SyntheticSamples
from synthspine.shards.format.manifest import Manifest, ShardEntry
from synthspine.shards.format.provenance import digest_of
from synthspine.shards.format.sample import ShardError
from synthspine.shards.format.tar import pack
from synthspine.shards.reading.open import ShardSet
from synthspine.shards.storage.cache import CachedShard, ShardCache, WrongContent, checked_content, in_memory

_log = logging.getLogger("synthspine.service")


def content_key(entry: ShardEntry) -> str:
    """The key of a shard, 64 hexadecimal digits: equal keys mean equal bytes."""
    return entry.key or entry.sha256


class RenderedSet:
    """The synthetic set; its shards are rendered on demand.

    A shard has the bytes that ``shards/main.py`` writes for the same options, because the same code makes it.
    Its key is a digest of everything that determines the bytes: generator, label maps, grid, seed, numbers of
    the samples, versions and device.

    Raises:
        ShardError: there are no label maps.
    """

    def __init__(
        self, samples: SyntheticSamples, options: ShardOptions, phantom: bool, cache: ShardCache
    ) -> None:
        if not len(samples):
            raise ShardError("there are no label maps to render from: the set of label maps is empty")
        self.samples = samples
        self._cache = cache
        identity, made_with = set_identity(SYNTHETIC, samples, options), samples.made_with()
        # It determines the length of the set, and not the content of a shard.
        content = {name: value for name, value in identity.items() if name != "synthetic_samples"}
        self._spans: dict[str, tuple[int, int]] = {}
        entries = []
        for number, start in enumerate(range(0, len(samples), options.samples_per_shard)):
            stop = min(start + options.samples_per_shard, len(samples))
            name = f"shard-{number:06d}.tar"
            self._spans[name] = start, stop
            key = digest_of([content, made_with, start, stop])
            entries.append(ShardEntry(name=name, samples=stop - start, key=key))
        self.manifest = Manifest(
            name=SYNTHETIC,
            samples=len(samples),
            phantom=phantom,
            identity=identity,
            made_with=made_with,
            left_out=[],
            shards=tuple(entries),
            on_demand=True,
        )

    def begin(self, entry: ShardEntry) -> Callable[[], CachedShard | None]:
        """Render a shard; the returned function packs and keeps it, or gives it back if the disk is full."""
        samples = self.samples.begin(*self._spans[entry.name])

        def finish() -> CachedShard | None:
            packed = pack(samples())
            return _keep(self._cache, entry.key, packed.sha256, packed.content)

        return finish


class StoredSet:
    """A complete set in a folder or behind a URL; its shards are checked, and sent from the disk cache."""

    def __init__(self, shards: ShardSet, cache: ShardCache) -> None:
        self.manifest = shards.manifest
        self._place = shards.place
        self._cache = cache

    def begin(self, entry: ShardEntry) -> Callable[[], CachedShard | None]:
        """Read a shard; the returned function checks and keeps it, or gives it back if the disk is full."""
        try:
            content = self._place.read(entry.name, entry.bytes)
        except UnfitFile:
            raise WrongContent(f"not a file of {entry.bytes} bytes") from None

        def finish() -> CachedShard | None:
            whole = checked_content(content, entry.sha256, entry.bytes)
            return _keep(self._cache, entry.sha256, entry.sha256, whole)

        return finish


def _keep(cache: ShardCache, key: str, sha256: str, content: bytes) -> CachedShard | None:
    """Keep a shard in the disk cache; the shard itself, in memory, if the disk does not take it."""
    try:
        cache.put(key, sha256, content)
    except OSError as error:
        _log.warning("a shard cannot be kept and is sent from memory: %s", error)
        return in_memory(content, sha256)
    return None


ServedSet = RenderedSet | StoredSet
