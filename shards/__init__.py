"""Reading SPIDER, writing and reading shards."""

from shards.folder import Series, SpiderError, find_series
from shards.options import ShardOptions
from shards.read import SampleArrays, ShardSet, open_set
from shards.sample import Sample, ShardError
from shards.sets import SETS, ensure_sets
from shards.slices import Grid
from shards.spider import Volume, read_image, read_mask, write_like

__all__ = [
    "SETS",
    "Grid",
    "Sample",
    "SampleArrays",
    "Series",
    "ShardError",
    "ShardOptions",
    "ShardSet",
    "SpiderError",
    "Volume",
    "ensure_sets",
    "find_series",
    "open_set",
    "read_image",
    "read_mask",
    "write_like",
]
