"""Previews: one sample as a PNG."""

import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from synthspine.gen import draw, render
from synthspine.gen.config import config_hash
from synthspine.gen.core.anatomy import CANAL
from synthspine.shards.building.synthetic_samples import SyntheticSamples
from synthspine.shards.checking.contact_sheet import coloured
from synthspine.shards.format.manifest import digest_of
from synthspine.shards.service.settings import Look

KEPT = 64
"""Previews that are kept in memory."""
_QUICK = 1
"""Effort of the compression: a larger file is sent sooner than a smaller one is made."""


class Previews:
    """Renders previews of a generator's label maps; the last ones are kept.

    Args:
        samples: label maps and device.
    """

    def __init__(self, samples: SyntheticSamples) -> None:
        self._samples = samples
        self._origin = [samples.identity()["label_bank"], samples.made_with()]
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._at = threading.Lock()

    def key(self, look: Look) -> str:
        """Digest of all that determines the PNG."""
        chosen = [config_hash(look.config), look.seed, look.index, look.map, look.show]
        return digest_of([*self._origin, *chosen])

    def kept(self, key: str) -> bytes | None:
        """The PNG of that key if it is still there."""
        with self._at:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def begin(self, look: Look) -> Callable[[], bytes]:
        """Render; what is returned makes the PNG of it."""
        image, codes = self.render(look)

        def finish() -> bytes:
            png = to_png(image, codes, look.show)
            with self._at:
                self._kept[self.key(look)] = png
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            return png

        return finish

    def render(self, look: Look) -> tuple[np.ndarray, np.ndarray]:
        """Picture, float32 in [0, 1], and the dense codes it shows, uint8, both ``(H, W)``."""
        bank = self._samples.bank
        with torch.inference_mode():
            indices = torch.tensor([look.index])
            params = draw(look.config, look.seed, indices, maps=len(bank), device=bank.device)
            params = replace(params, map_index=torch.full_like(params.map_index, look.map))
            image, codes = render(bank, params)
        return image[0, 0].float().cpu().numpy(), codes[0].cpu().numpy()


def clearest_map(labels: np.ndarray) -> int:
    """Number of the label map, of those of shape ``(N, H, W)``, that shows most of the canal."""
    return int((labels == CANAL).sum(axis=(1, 2)).argmax())


def to_png(image: np.ndarray, codes: np.ndarray, show: str) -> bytes:
    """A PNG: label map and picture side by side, one of them, or the labels over the picture."""
    grey = (255 * np.clip(image, 0, 1)).round().astype(np.uint8)[..., None].repeat(3, axis=-1)
    if show == "image":
        picture = grey
    elif show == "label":
        picture = coloured(codes)
    elif show == "overlay":
        picture = coloured(codes, image)
    else:
        picture = np.concatenate([coloured(codes), grey], axis=1)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="png", compress_level=_QUICK)
    return buffer.getvalue()
