"""Reading SPIDER, writing and reading shards."""

if __name__ != "synthspine.shards":
    raise ImportError("this package is imported as synthspine.shards, not as shards")


from synthspine.shards.building.options import ShardOptions
from synthspine.shards.building.sets import SETS, ensure_sets
from synthspine.shards.format.sample import Sample, ShardError
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.slices import Grid
from synthspine.shards.reading.open import ShardSet, open_set
from synthspine.shards.reading.stream import ShardStream
from synthspine.shards.storage.opening import open_place

__all__ = [
    "SETS",
    "Grid",
    "Sample",
    "ShardError",
    "ShardOptions",
    "ShardSet",
    "ShardStream",
    "SpiderError",
    "ensure_sets",
    "open_place",
    "open_set",
]
