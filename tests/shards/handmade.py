"""Sets written by hand: nothing stops them from being wrong."""

import json

import numpy as np

from synthspine.shards.format.manifest import (
    MANIFEST,
    VERSION,
    Manifest,
    ShardEntry,
    label_digest,
    save_manifest,
)
from synthspine.shards.format.sample import Sample, sample_key
from synthspine.shards.format.sealed import SEAL, sealed
from synthspine.shards.format.tar import pack
from synthspine.shards.storage.opening import open_place

PER_SHARD = 4
SHAPE = (32, 16)
BANK = "b" * 64
NAMES = [f"shard-{number:06d}.tar" for number in range(3)]


def series_record(index):
    facts = {"contrast": "t1", "slices": 20, "spacing_mm": [4.0, 0.6, 0.6]}
    return {"source": f"{index // 5}_t1", "patient": str(index // 5), "slice": index % 5, **facts}


def rendered_record(index):
    facts = {"index": index, "seed": 7, "params": {"spacing_mm": 1.0, "map_index": index}}
    return {"source": "1_t1", "patient": "1", "slice": index, **facts}


def sample_of(index, images=True, record=series_record):
    random = np.random.default_rng(index)
    image = random.random(SHAPE).astype(np.float16) if images else None
    label = random.choice(np.array([0, 1, 7, 31, 60, 255], np.uint8), SHAPE)
    return Sample(sample_key(index), image, label, record(index))


def write(folder, samples, per_shard=PER_SHARD, **identity):
    """A set of these samples, written by hand: nothing stops it from being wrong."""
    entries, digests = [], []
    for number, start in enumerate(range(0, len(samples), per_shard)):
        packed = pack(samples[start : start + per_shard])
        name = f"shard-{number:06d}.tar"
        open_place(folder).write(name, packed.content)
        count = len(packed.label_digests)
        entries.append(ShardEntry(name=name, samples=count, bytes=len(packed.content), sha256=packed.sha256))
        digests += packed.label_digests
    defaults = {"version": VERSION, "set": folder.name, "samples_per_shard": PER_SHARD}
    manifest = Manifest(
        name=folder.name,
        samples=len(samples),
        phantom=False,
        identity=defaults | identity,
        made_with={"torch": "1"},
        label_digest=label_digest(digests),
        left_out=[],
        shards=tuple(entries),
    )
    save_manifest(open_place(folder), manifest)
    return folder


def edit_manifest(folder, *, seal=True, **changes):
    """Change entries of a manifest, by default with a digest of its own that fits."""
    path = folder / MANIFEST
    fields = json.loads(path.read_text()) | changes
    if seal:
        fields = sealed({name: value for name, value in fields.items() if name != SEAL})
    path.write_text(json.dumps(fields))
