"""Writing one shard: a plain tar, the same bytes for the same samples, whole or not there."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from shards.atomic import atomic_path
from shards.sample import Sample, encode


def write_shard(path: Path, samples: Iterable[Sample]) -> int:
    """Write samples as a WebDataset tar, atomically.

    Args:
        path: the file to write.
        samples: in the order in which they are to be read.

    Returns:
        The number of samples.
    """
    count = 0
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            for extension, content in encode(sample).items():
                # A fresh TarInfo carries no owner and time 0, so the bytes depend on the samples alone.
                entry = tarfile.TarInfo(f"{sample.key}.{extension}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            count += 1
    return count
