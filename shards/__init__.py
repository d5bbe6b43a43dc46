"""Reading SPIDER, writing and reading shards."""

from shards.folder import Series, SpiderError, find_series
from shards.options import ShardOptions
from shards.places import Place, open_place
from shards.read import SampleArrays, ShardSet, open_set
from shards.sample import Sample, ShardError
from shards.sets import SETS, ensure_sets
from shards.slices import Grid
from shards.spider import Volume, read_image, read_mask, write_like
from shards.stream import ShardStream

__all__ = [
    "SETS",
    "Grid",
    "Place",
    "Sample",
    "SampleArrays",
    "Series",
    "ShardError",
    "ShardOptions",
    "ShardSet",
    "ShardStream",
    "SpiderError",
    "Volume",
    "ensure_sets",
    "find_series",
    "open_place",
    "open_set",
    "read_image",
    "read_mask",
    "write_like",
]
