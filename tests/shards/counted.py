"""A source of small samples (the label of each is its number), and its writers."""

import threading
import time

import numpy as np

from synthspine.shards.building import build as building
from synthspine.shards.building.staging import start_set
from synthspine.shards.building.workers import ALONE, Workers
from synthspine.shards.format.manifest import VERSION
from synthspine.shards.format.sample import Sample, sample_key
from synthspine.shards.storage.opening import open_place

PER_SHARD = 4


class Counted:
    """Sample ``i``: 16 x 16, label ``i`` everywhere, image ``i / 100``.

    Args:
        count: number of samples.
        images: whether they have an image.
        seconds: how long one takes to make.
    """

    left_out = ()

    def __init__(self, count, images=True, seconds=0.0):
        self.count, self.images, self.seconds = count, images, seconds

    def identity(self):
        return {"version": VERSION, "set": "counted", "samples_per_shard": PER_SHARD, "count": self.count}

    def made_with(self):
        return {"test": "1"}

    def prepare(self, parts, workers, title):
        pass

    def __len__(self):
        return self.count

    def begin(self, start, stop):
        return lambda: map(self.sample, range(start, stop))

    def sample(self, index):
        time.sleep(self.seconds)
        image = np.full((16, 16), index / 100, np.float16) if self.images else None
        return Sample(sample_key(index), image, np.full((16, 16), index % 250, np.uint8), {"index": index})


def build(folder, source, workers=ALONE):
    """Build the set of that source."""
    place = open_place(folder)
    building.build_set(
        place, source, source.identity(), phantom=False, samples_per_shard=PER_SHARD, workers=workers
    )
    return place


def stopping(source, at):
    """The same source, interrupted when sample ``at`` is asked for; earlier shards get time to be written."""
    begin = source.begin

    def stop(start, end):
        if start >= at:
            time.sleep(0.1)
            raise KeyboardInterrupt
        return begin(start, end)

    source.begin = stop
    return source


def joined(count, work):
    """Run ``work(workers)`` in as many threads, each one of the workers; the errors they ended with."""
    barrier, values, errors = threading.Barrier(count, timeout=60), [None] * count, []

    def run(rank):
        def gather(value):
            values[rank] = value
            barrier.wait()
            every = list(values)
            barrier.wait()
            return every

        try:
            work(Workers(rank=rank, world_size=count, gather=gather))
        except Exception as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def let_another_writer_in(monkeypatch, after="shard-000002.tar"):
    """Behind the back of the lock somebody begins another set, as another machine would in a bucket."""
    real = building.write_shard

    def disturbed(place, name, samples):
        packed = real(place, name, samples)
        if name == after:
            start_set(place, "somebody else")
        return packed

    monkeypatch.setattr(building, "write_shard", disturbed)
