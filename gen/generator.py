"""The generator: draw every random decision of a sample, then render it.

Sample ``i`` is a function of (configuration, label bank, seed, ``i``) alone: the same picture alone or
inside any batch, on any worker or rank.
"""

import torch
from torch import Tensor

from gen.acquisition import acquire, draw_acquisition
from gen.anatomy import IGNORE
from gen.artifacts import draw_artefacts, move, shade
from gen.config import GeneratorConfig
from gen.contrast import colour, draw_contrast
from gen.counter_rng import SampleRandom, sample_keys
from gen.intensity import display, draw_intensity
from gen.params import Params
from gen.spatial import deform, draw_spatial
from gen.tissues import draw_tissues, paint


def draw(
    config: GeneratorConfig,
    seed: int,
    indices: Tensor,
    *,
    maps: int,
    dims: int = 2,
    device: torch.device | str = "cpu",
) -> Params:
    """Draw every random decision of samples ``indices``.

    Args:
        config: what may be drawn.
        seed: seed of the series of samples.
        indices: sample numbers, int64, shape ``(B,)``.
        maps: number of maps in the label bank.
        dims: 2 for slices ``(H, W)``, 3 for volumes ``(Z, H, W)``.
        device: where the result lies.

    Raises:
        ValueError: no sample, no map, or a wrong number of dimensions.
    """
    if indices.dim() != 1 or len(indices) == 0:
        raise ValueError(f"indices have shape {tuple(indices.shape)}; need (B,) with B at least 1")
    if maps < 1 or dims not in (2, 3):
        raise ValueError(f"got {maps} maps of {dims} dimensions; need a map or more, of 2 or 3 dimensions")
    random = SampleRandom(sample_keys(seed, indices.to(device=device, dtype=torch.int64)))
    spacing_mm = (config.slice_spacing_mm, config.spacing_mm, config.spacing_mm)[-dims:]
    return Params(
        spacing_mm=spacing_mm,
        spatial=draw_spatial(config.geometry, random, maps, dims),
        tissues=draw_tissues(config.tissues, random),
        contrast=draw_contrast(config.contrast, random),
        artefacts=draw_artefacts(config.artefacts, random),
        acquisition=draw_acquisition(config.acquisition, random, spacing_mm),
        intensity=draw_intensity(config.intensity, random),
    )


def render(bank: Tensor, params: Params) -> tuple[Tensor, Tensor]:
    """Render a batch of samples.

    Args:
        bank: label maps, dense codes, uint8, shape ``(N, *grid)``, on the device of ``params``.
        params: what was drawn for ``B`` samples.

    Returns:
        Image, float32 in [0, 1], shape ``(B, 1, *grid)``, and the dense codes it shows, uint8, shape
        ``(B, *grid)``, 255 outside the field of view.
    """
    spacing_mm = params.spacing_mm
    codes = deform(bank, params.spatial, spacing_mm)
    painting = paint(codes, params.tissues, spacing_mm)
    image = colour(painting, params.contrast, spacing_mm)
    image = shade(image, painting.behind_mm, params.artefacts, spacing_mm)
    image = move(image, params.artefacts, spacing_mm)
    image = acquire(image, params.acquisition, params.artefacts, spacing_mm)
    seen = (codes != IGNORE) | (params.tissues.outside == 0).view(-1, *[1] * (codes.dim() - 1))
    return display(image, seen, params.intensity).unsqueeze(1), codes
