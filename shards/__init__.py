"""Reading datasets, writing and reading shards."""

if __name__ != "synthspine.shards":
    raise ImportError("this package is imported as synthspine.shards, not as shards")


from typing import TYPE_CHECKING

from synthspine.lazy import on_first_use

if TYPE_CHECKING:
    from synthspine.shards.building.names import SETS
    from synthspine.shards.building.options import ShardOptions
    from synthspine.shards.building.sets import ensure_sets
    from synthspine.shards.format.sample import Sample, ShardError
    from synthspine.shards.readers.base import Layout, masks_with
    from synthspine.shards.readers.folder import Series, SpiderError, find_series
    from synthspine.shards.readers.labels import LabelTable
    from synthspine.shards.readers.layouts import register_layout, series_of
    from synthspine.shards.readers.slices import Grid
    from synthspine.shards.readers.spider import Volume, read_image, read_mask, write_like
    from synthspine.shards.reading.open import SampleArrays, ShardSet, open_set
    from synthspine.shards.reading.stream import ShardStream
    from synthspine.shards.storage.opening import open_place
    from synthspine.shards.storage.place import Place

__all__ = [
    "SETS",
    "Grid",
    "LabelTable",
    "Layout",
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
    "masks_with",
    "open_place",
    "open_set",
    "read_image",
    "read_mask",
    "register_layout",
    "series_of",
    "write_like",
]

__getattr__ = on_first_use(__name__)
