"""A verified set as a source for webdataset: stages and loaders of webdataset work behind it."""

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import IterableDataset
from webdataset import DataPipeline
from webdataset.compat import FluidInterface

from synthspine.shards.format.order import Reader
from synthspine.shards.format.sample import IMAGE, LABEL, RECORD, Sample

WebSample = dict[str, Any]


class SetPipeline(DataPipeline, FluidInterface):
    """Decoded samples of a set, as dictionaries, in the order of the set, from one position to another.

    Stages are appended as to a ``webdataset.WebDataset`` (``.map(...)``, ``.to_tuple(...)``,
    ``.batched(...)``; no ``.decode()``). The workers of a loader share the samples. ``stream`` gives the
    samples of a reader.
    """

    def __init__(
        self,
        stream: Callable[[Reader], Iterator[WebSample]],
        start: int,
        stop: int | None,
        reader: Reader,
    ) -> None:
        super().__init__(_Source(stream, reader))
        self._start, self._stop, self._world = start, stop, reader.world

    def position(self, samples: int) -> int:
        """Position after that many samples of each rank: the ``start`` of the pipeline that gives the rest.

        It counts what was taken from the pipeline, or from the loader over it. It is exact as long as the
        stages keep the order and the number of samples.
        """
        position = self._start + samples * self._world
        return position if self._stop is None else min(position, self._stop)


class _Source(IterableDataset[WebSample]):
    """The part of the samples that falls to this worker of a loader."""

    def __init__(self, stream: Callable[[Reader], Iterator[WebSample]], reader: Reader) -> None:
        super().__init__()
        self._stream = stream
        self._reader = reader

    def __iter__(self) -> Iterator[WebSample]:
        return self._stream(self._reader.in_worker())


def web_sample(sample: Sample, url: str) -> WebSample:
    """A sample as webdataset gives it after decoding; ``url`` is the path or URL of its shard.

    Returns:
        ``__key__``, ``__url__``, ``image.npy`` (where there is an image) and ``label.npy`` as arrays that may
        be written to, and ``json`` as a dictionary.
    """
    # Copies: a view in a shuffle buffer would keep its whole shard in memory.
    arrays = {} if sample.image is None else {IMAGE: sample.image.copy()}
    arrays[LABEL] = sample.label.copy()
    return {"__key__": sample.key, "__url__": url, **arrays, RECORD: sample.record}
