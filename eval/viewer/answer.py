"""One scan for the page: segmented as ``synthspine predict`` does, everything in one answer."""

import json
import math
import time
from dataclasses import asdict
from pathlib import Path, PurePath

import numpy as np
import torch

from synthspine.eval.prediction.prediction import prediction_model
from synthspine.eval.prediction.scan_report import middle_slice, name_places, shown_codes, write_prediction
from synthspine.eval.prediction.scans import MASK_STEM, find_scans
from synthspine.eval.prediction.tables.colours import entries
from synthspine.eval.segmentation.segment import segment_volume
from synthspine.gen.core.anatomy import spider_values
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.slices import normalise, resampled_size
from synthspine.shards.volumes.files import ending_of
from synthspine.train.model.pretrained import PRETRAINED

MASK_SUFFIX = ".nii.gz"
MOST_VOXELS = 2**26
"""Most voxels of a scan, also at the pixel size of the network.

The browser receives two bytes for each, image and mask, and the mask file.
"""


def view(path: Path, name: str, device: torch.device) -> bytes:
    """Segment a scan with the model of the project; the mask is also written beside the file.

    Args:
        path: the file.
        name: what the user calls it.
        device: where the model runs.

    Returns:
        The length of a header, uint32; the header, JSON; the image, uint8 ``(Z, H, W)`` from left to right;
        the mask in SPIDER's values, uint8 of the same shape; the file of the mask, as ``synthspine predict
        --format nii.gz`` writes it. Numbers are little-endian.

    Raises:
        SpiderError: the scan cannot be used.
        CheckpointError: the model of the project is missing or damaged.
        MemoryError, torch.OutOfMemoryError: it is too large.
    """
    started = time.perf_counter()
    model = prediction_model(PRETRAINED, device)
    scans, errors = find_scans([path], path.parent, suffix=MASK_SUFFIX)
    if errors:
        raise errors[0]
    volume = scans[0].read()
    shape = volume.array.shape
    spacing_mm = model.checkpoint.spacing_mm
    in_plane_mm = (volume.spacing_mm[1], volume.spacing_mm[2])
    try:
        pixels = math.prod(resampled_size((shape[1], shape[2]), in_plane_mm, spacing_mm))
    except ValueError as error:
        raise SpiderError(path, str(error)) from None
    voxels = max(volume.array.size, shape[0] * pixels)
    if voxels > MOST_VOXELS:
        reason = f"has {voxels:,} voxels of {spacing_mm:g} mm or its own, more than {MOST_VOXELS:,}"
        raise SpiderError(path, f"{reason}; use synthspine predict")
    found = segment_volume(model, volume, scheme=model.scheme, spacing_mm=spacing_mm, device=device)
    files, flags, structures = write_prediction(
        scans[0], volume, found, model_spacing_mm=spacing_mm, provenance={}, tables=False
    )
    codes = shown_codes(found.codes, sacrum=False, posterior=False)
    colours = {value: f"#{red:02x}{green:02x}{blue:02x}" for value, _, (red, green, blue) in entries()}
    header = {
        "scan": name,
        "mask": f"{PurePath(name.removesuffix(ending_of(path) or '')).name}{MASK_STEM}{MASK_SUFFIX}",
        "shape": shape,
        "spacing_mm": volume.spacing_mm,
        "middle": middle_slice(codes),
        "structures": [asdict(each) | {"colour": colours[each.spider_value]} for each in structures],
        "names": [list(name_places(plane, relative=found.relative)) for plane in codes],
        "relative": found.relative,
        "flags": [asdict(flag) for flag in flags],
        "seconds": round(time.perf_counter() - started, 2),
    }
    text = json.dumps(header).encode()
    image = np.rint(normalise(volume.array) * 255).astype(np.uint8)
    # SPIDER's values are at most 225.
    values = spider_values()[codes].astype(np.uint8)
    length = len(text).to_bytes(4, "little")
    return b"".join((length, text, image.tobytes(), values.tobytes(), files[0].read_bytes()))
