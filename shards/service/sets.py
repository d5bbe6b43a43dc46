"""The sets that are served: one that is rendered on demand, and stored ones as they lie there."""

from collections.abc import Callable
from typing import Any, Protocol

from synthspine.shards.building.options import ShardOptions
from synthspine.shards.building.sets import SYNTHETIC, set_identity
from synthspine.shards.building.synthetic_samples import SyntheticSamples
from synthspine.shards.format.manifest import Manifest, ShardEntry, digest_of, manifest_text
from synthspine.shards.format.sample import ShardError
from synthspine.shards.format.tar import pack
from synthspine.shards.reading.open import ShardSet
from synthspine.shards.storage.cache import ShardCache, checked_content

_SET_WIDE = ("synthetic_samples",)
"""Entries of an identity that say how much there is, and not what a shard holds."""


class ServedSet(Protocol):
    """A set with its shards by name."""

    manifest: Manifest

    @property
    def on_device(self) -> bool:
        """Whether making a shard needs the device."""
        ...

    def key(self, entry: ShardEntry) -> str:
        """Content key of a shard: 64 hexadecimal digits."""
        ...

    def begin(self, entry: ShardEntry) -> Callable[[], None]:
        """Begin to make a shard; what is returned puts it into the disk cache."""
        ...


class RenderedSet:
    """The synthetic set, its shards rendered when they are asked for.

    A shard is what ``shards/main.py`` writes for the same choices: the samples and their tar come from the
    same code. Its content key is a digest of all that determines its bytes: generator, label maps, grid,
    seed, the numbers of its samples, versions and device.

    Args:
        samples: the generator over the label maps.
        options: how they are cut into shards.
        phantom: whether the label maps come from the phantom.
        cache: where shards go.

    Raises:
        ShardError: there are no label maps.
    """

    on_device = True

    def __init__(
        self, samples: SyntheticSamples, options: ShardOptions, phantom: bool, cache: ShardCache
    ) -> None:
        if not len(samples):
            raise ShardError("there are no label maps to render from: the set of label maps is empty")
        self.samples = samples
        self._cache = cache
        identity = set_identity(SYNTHETIC, samples, options)
        made_with = samples.made_with()
        content = {name: value for name, value in identity.items() if name not in _SET_WIDE}
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
            label_digest="",
            left_out=[],
            shards=tuple(entries),
            on_demand=True,
        )

    def key(self, entry: ShardEntry) -> str:
        """Content key of a shard."""
        return entry.key

    def begin(self, entry: ShardEntry) -> Callable[[], None]:
        """Render a shard; what is returned packs and keeps it."""
        samples = self.samples.begin(*self._spans[entry.name])

        def finish() -> None:
            packed = pack(samples())
            self._cache.put(entry.key, packed.sha256, packed.parts)

        return finish


class StoredSet:
    """A complete set as it lies in its place; shards are checked before they are sent.

    Args:
        shards: the set.
        cache: where checked shards go.
    """

    on_device = False

    def __init__(self, shards: ShardSet, cache: ShardCache) -> None:
        self.manifest = shards.manifest
        self._place = shards.place
        self._cache = cache

    def key(self, entry: ShardEntry) -> str:
        """SHA-256 of a shard: the same bytes, the same key."""
        return entry.sha256

    def begin(self, entry: ShardEntry) -> Callable[[], None]:
        """Read a shard; what is returned checks and keeps it."""
        content = self._place.read(entry.name)

        def finish() -> None:
            whole = checked_content(content, entry.sha256, entry.bytes)
            self._cache.put(entry.sha256, entry.sha256, [whole])

        return finish


def facts_of(served: ServedSet) -> dict[str, Any]:
    """What the list of sets says of one."""
    manifest = served.manifest
    return {
        "samples": manifest.samples,
        "shards": len(manifest.shards),
        "on_demand": manifest.on_demand,
        "phantom": manifest.phantom,
    }


def manifest_bytes(served: ServedSet) -> bytes:
    """``manifest.json`` of a set."""
    return manifest_text(served.manifest).encode()
