"""Previews: one sample as a PNG."""

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from synthspine.gen import draw, render
from synthspine.gen.config import config_hash
from synthspine.gen.core.anatomy import CANAL
from synthspine.shards.building.synthetic_samples import SyntheticSamples
from synthspine.shards.checking.overlay import coloured, grey_picture
from synthspine.shards.format.provenance import digest_of
from synthspine.shards.service.preview_query import Preview

_COMPRESS_LEVEL = 1
"""Of the PNG: sending a larger file takes less time than compressing it more."""


class Previews:
    """Renders previews of the label maps of a generator, on its device."""

    def __init__(self, samples: SyntheticSamples) -> None:
        self._samples = samples
        self._origin = [samples.identity()["label_bank"], samples.made_with()]

    def key(self, preview: Preview) -> str:
        """Digest of everything that determines the PNG."""
        chosen = [config_hash(preview.config), preview.seed, preview.index, preview.map, preview.show]
        return digest_of([*self._origin, *chosen])

    def begin(self, preview: Preview) -> Callable[[], bytes]:
        """Render on the device; the returned function makes the PNG."""
        bank = self._samples.bank
        with torch.inference_mode():
            indices = torch.tensor([preview.index])
            params = draw(preview.config, preview.seed, indices, maps=len(bank))
            params = replace(params, map_index=torch.full_like(params.map_index, preview.map))
            image, codes = render(bank, params)
        pixels, labels = image[0, 0].float().cpu().numpy(), codes[0].cpu().numpy()
        return lambda: _to_png(pixels, labels, preview.show)


def clearest_map(labels: np.ndarray) -> int:
    """Number of the label map that shows most of the canal, among those of shape ``(N, H, W)``."""
    return int((labels == CANAL).sum(axis=(1, 2)).argmax())


def _to_png(image: np.ndarray, codes: np.ndarray, show: str) -> bytes:
    """A PNG of an image with values in [0, 1] and its dense label codes, both of shape ``(H, W)``."""
    grey, labels = grey_picture(image), coloured(codes)
    overlay = coloured(codes, image)
    parts = {"image": [grey], "label": [labels], "overlay": [overlay], "both": [labels, grey]}[show]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(parts, axis=1)).save(buffer, format="png", compress_level=_COMPRESS_LEVEL)
    return buffer.getvalue()
